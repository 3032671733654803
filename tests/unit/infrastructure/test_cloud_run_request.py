"""The Cloud Run job of a flow run: every setting, field by field, by the API's documents."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.blocks.gcp import CloudRunJobSettings
from reconciler.infrastructure.base import NotLaunchable
from reconciler.infrastructure.cloud_run.request import job, job_id, labels
from reconciler.model.launch import LaunchSpec

TOKEN = "11111111-1111-8111-8111-111111111111"
API = {"PREFECT_API_URL": "https://prefect.example.com/api", "PREFECT__FLOW_RUN_ID": "run"}
OWN = {"reconciler-launch-token": TOKEN, "reconciler-flow-run-id": "run"}


def made(env=None, prefect=None, command=None, **settings):
    needed = {"image": "gcr.io/project/etl:1", "region": "europe-west1", "credentials": {}}
    settings = CloudRunJobSettings(**{**needed, **settings})
    return job(
        LaunchSpec(
            token=TOKEN,
            flow_run_id="run",
            name="nightly",
            type="cloud-run-job",
            settings=settings,
            env={**API, **(env or {})},
            labels={**(prefect or {}), **settings.labels},
            command=command,
        )
    )


def variables(env):
    return [{"name": name, "value": value} for name, value in env.items()]


def plain(container=None, task=None, **body):
    return {
        "labels": OWN,
        "launchStage": "BETA",
        "template": {
            "taskCount": 1,
            "parallelism": 1,
            "template": {
                "containers": [
                    {
                        "image": "gcr.io/project/etl:1",
                        "command": ["prefect", "flow-run", "execute"],
                        "env": variables(API),
                        **(container or {}),
                    }
                ],
                "maxRetries": 0,
                "timeout": "600s",
                **(task or {}),
            },
        },
        **body,
    }


def test_a_block_without_settings_runs_once():
    assert made() == plain()


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({"image": "gcr.io/p/x:2"}, {"container": {"image": "gcr.io/p/x:2"}}),
        ({"cpu": 2}, {"container": {"resources": {"limits": {"cpu": "2000m"}}}}),
        (
            {"memory": 512, "memory_unit": "Mi"},
            {"container": {"resources": {"limits": {"memory": "512Mi"}}}},
        ),
        ({"args": ["a", "b"]}, {"container": {"args": ["a", "b"]}}),
        ({"timeout": 60}, {"task": {"timeout": "60s"}}),
        ({"max_retries": 2}, {"task": {"maxRetries": 2}}),
        ({"max_retries": 0}, {}),
        ({"vpc_connector_name": "net"}, {"task": {"vpcAccess": {"connector": "net"}}}),
        ({"labels": {"Team": "Data X"}}, {"labels": {"team": "data-x", **OWN}}),
        ({"keep_job": True}, {}),
    ],
    ids=str,
)
def test_a_setting_changes_its_own_part(settings, changed):
    assert made(**settings) == plain(**changed)


def test_without_a_time_out_cloud_runs_own_holds():
    assert "timeout" not in made(timeout=None)["template"]["template"]


def test_the_command_is_that_of_the_block():
    assert made(command=("python", "x.py")) == plain(container={"command": ["python", "x.py"]})


def test_a_variable_that_is_null_is_not_sent():
    assert made(env={"A": None, "B": "2"}) == plain(container={"env": variables({**API, "B": "2"})})


def test_memory_needs_its_unit():
    with pytest.raises(NotLaunchable, match="memory needs memory_unit"):
        made(memory=512)


def test_the_id_depends_on_the_token_alone():
    assert job_id(TOKEN) == f"prefect-{TOKEN}"
    assert len(job_id(TOKEN)) < 50


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_labels_have_only_characters_that_google_takes(given_labels):
    for key, value in labels(given_labels).items():
        assert re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key)
        assert re.fullmatch(r"[a-z0-9_-]{0,63}", value)
