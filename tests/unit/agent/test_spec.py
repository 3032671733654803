"""The launch spec: block, overrides, environment, labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from reconciler.agent.code import Checkout, Checkouts, NoCode
from reconciler.agent.context import Context
from reconciler.agent.observer import silent
from reconciler.agent.options import AgentOptions, connection_environment
from reconciler.agent.spec import build, with_overrides
from reconciler.api.runs import read_run
from reconciler.infrastructure.base import NotLaunchable
from reconciler.settings import ConnectionSettings
from tests.fakes.agents import SteppedClock
from tests.fakes.launcher import FakeLauncher, Host
from tests.fakes.prefect_runs import PrefectRuns, RunsApi

TOKEN = "11111111-1111-8111-8111-111111111111"


async def spec_of(tmp_path, data=None, *, slug="process", checkout=None, job=None, run=None, **how):
    clock = SteppedClock()
    server = PrefectRuns(clock).pool()
    block = server.block(data, slug) if data is not None else None
    deployment = server.deployment(infrastructure_document_id=block, job_variables=job or {}, **how)
    key = server.schedule(deployment, **(run or {}))
    api = RunsApi(server)
    options = AgentOptions("a", tmp_path, environment={"PREFECT_API_URL": "http://x/api"})
    launcher = FakeLauncher(Host(server, clock))
    context = Context(api, options, {"process": launcher}, None, Checkouts(NoCode()), clock, silent)
    found = await read_run(api, key)
    return (await build(context, found, TOKEN, checkout))[0]


@pytest.mark.anyio
async def test_a_deployment_without_infrastructure_is_a_plain_process(tmp_path):
    spec = await spec_of(tmp_path)
    assert (spec.type, spec.command, spec.name) == ("process", None, "run-0")
    assert spec.env == {
        "PREFECT_API_URL": "http://x/api",
        "PREFECT__FLOW_RUN_ID": spec.flow_run_id,
    }


@pytest.mark.anyio
async def test_the_blocks_environment_wins_and_null_stays_to_unset(tmp_path):
    data = {"env": {"PREFECT_API_URL": "http://mine/api", "HOME": None, "N": 1}}
    spec = await spec_of(tmp_path, data)
    assert spec.env["PREFECT_API_URL"] == "http://mine/api"
    assert spec.env["HOME"] is None
    assert spec.env["N"] == "1"


@pytest.mark.anyio
async def test_overrides_of_deployment_and_run_reach_the_settings(tmp_path):
    spec = await spec_of(
        tmp_path,
        {"env": {"A": "block", "B": "block"}, "command": ["x"]},
        job={"env.A": "deployment", "name": "mine", "env.C": "deployment"},
        run={"job_variables": {"env.C": "run"}},
    )
    assert {k: spec.env[k] for k in "ABC"} == {"A": "deployment", "B": "block", "C": "run"}
    assert (spec.name, spec.command) == ("mine", ("x",))


@pytest.mark.anyio
async def test_labels_are_prefects_and_the_users_win(tmp_path):
    spec = await spec_of(tmp_path, {"labels": {"prefect.io/flow-name": "mine", "team": "x"}})
    assert list(spec.labels) == [
        "prefect.io/flow-run-id",
        "prefect.io/flow-run-name",
        "prefect.io/version",
        "prefect.io/deployment-name",
        "prefect.io/deployment-updated",
        "prefect.io/flow-name",
        "team",
    ]
    assert spec.labels["prefect.io/deployment-updated"] == "2026-01-01T00:00:00.000000Z"
    assert spec.labels["prefect.io/flow-name"] == "mine"


@pytest.mark.anyio
async def test_local_runs_see_the_checkout(tmp_path):
    spec = await spec_of(tmp_path, checkout=Checkout(tmp_path / "tree", "abc"))
    assert spec.env["PREFECT__STORAGE_BASE_PATH"] == str(tmp_path / "tree")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("data", "how", "words"),
    [
        ({}, {"slug": "vertex-ai-custom-training-job"}, "type vertex-ai-custom-training-job"),
        ({"env": "text"}, {}, "env: "),
        (
            {"command": ["x"]},
            {"job": {"command.0.y": "z"}},
            "'command.0.y'.*'command' is no mapping",
        ),
        ({}, {"run": {"deployment_id": None}}, "no deployment any more"),
        ({}, {"run": {"deployment_id": "gone"}}, "was deleted"),
    ],
)
async def test_what_can_not_be_launched_says_which_part(tmp_path, data, how, words):
    with pytest.raises(NotLaunchable, match=words):
        await spec_of(tmp_path, data, **how)


@pytest.mark.anyio
async def test_a_wrong_value_is_not_repeated_in_the_message(tmp_path):
    with pytest.raises(NotLaunchable) as caught:
        await spec_of(tmp_path, {"env": {"PASSWORD": ["canary-secret"]}})
    assert "canary-secret" not in str(caught.value)


def test_an_override_makes_what_is_missing_on_its_way():
    assert with_overrides({"env": None}, {"env.A": 1, "a.b.c": 2}) == {
        "env": {"A": 1},
        "a": {"b": {"c": 2}},
    }


words = st.text("abc", min_size=1, max_size=2)


@given(
    st.dictionaries(words, st.dictionaries(words, st.integers())),
    st.dictionaries(st.tuples(words, words), st.integers()),
)
def test_overrides_change_what_they_name_and_nothing_else(data, overrides):
    before = {k: dict(v) for k, v in data.items()}
    result = with_overrides(data, {f"{a}.{b}": v for (a, b), v in overrides.items()})
    assert data == before
    for (a, b), value in overrides.items():
        assert result[a][b] == value
    for a, inner in before.items():
        for b, value in inner.items():
            assert result[a][b] == overrides.get((a, b), value)


def test_a_flow_run_gets_all_it_needs_to_reach_our_api_and_nothing_more():
    connection = ConnectionSettings.to(
        "https://p/api",
        api_key=SecretStr("k"),
        auth_string=SecretStr("u:p"),
        custom_headers={"X": SecretStr("y")},
        tls_insecure=True,
        ca_file="/ca.pem",
    )
    assert connection_environment(connection) == {
        "PREFECT_API_URL": "https://p/api",
        "PREFECT_API_KEY": "k",
        "PREFECT_API_AUTH_STRING": "u:p",
        "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X": "y"}',
        "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true",
        "PREFECT_API_SSL_CERT_FILE": "/ca.pem",
    }
    assert connection_environment(ConnectionSettings.to("http://p/api")) == {
        "PREFECT_API_URL": "http://p/api"
    }


@pytest.mark.anyio
async def test_a_flows_name_is_asked_once(tmp_path):
    clock = SteppedClock()
    server = PrefectRuns(clock).pool()
    api = RunsApi(server)
    deployment = server.deployment()
    keys = [server.schedule(deployment) for _ in range(2)]
    options = AgentOptions("a", tmp_path, environment={})
    launcher = FakeLauncher(Host(server, clock))
    context = Context(api, options, {"process": launcher}, None, Checkouts(NoCode()), clock, silent)
    specs = [(await build(context, await read_run(api, key), TOKEN, None))[0] for key in keys]
    assert [spec.labels["prefect.io/flow-name"] for spec in specs] == ["etl", "etl"]
    assert sum(path.startswith("/flows/") for _, path in api.requests) == 1
