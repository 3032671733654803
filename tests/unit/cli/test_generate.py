"""`reconciler generate deployment`: a manifest that is valid at once."""

import pytest
import yaml

FLOW = '''
from prefect import flow

@flow(name="ETL")
def etl(limit: int, names: list[str] = ["a"]):
    """Moves things."""
'''


@pytest.fixture
def tree(home):
    (home / "flows").mkdir()
    (home / "flows" / "etl.py").write_text(FLOW)
    (home / "reconciler.yaml").write_text("name: shop\n")
    return home


def test_a_manifest_with_every_option_is_valid(reconciler, tree):
    done = reconciler(
        *("generate", "deployment", "flows/etl.py:etl", "-n", "nightly", "-i", "docker-container"),
        *("--override", "env.LOG=DEBUG", "--override", "image=flows:1", "-q", "fast", "-p", "own"),
        *("--cron", "0 3 * * *", "--timezone", "Europe/London", "-t", "a", "-t", "b"),
        *("--param", "limit=3", "--param", 'names=["x"]', "--out", "deployments/nightly.yaml"),
    )
    assert done.code == 0, done.err
    made = yaml.safe_load((tree / "deployments/nightly.yaml").read_text())
    assert made == {
        "kind": "Deployment",
        "flow_name": "ETL",
        "name": "nightly",
        "description": "Moves things.",
        "entrypoint": "flows/etl.py:etl",
        "path": "$STORAGE_BASE_PATH",
        "infrastructure": {"type": "docker-container"},
        "infra_overrides": {"env.LOG": "DEBUG", "image": "flows:1"},
        "work_pool_name": "own",
        "work_queue_name": "fast",
        "schedules": [{"cron": "0 3 * * *", "timezone": "Europe/London"}],
        "parameters": {"limit": 3, "names": ["x"]},
        "tags": ["a", "b"],
        "parameter_openapi_schema": {
            "title": "Parameters",
            "type": "object",
            "properties": {
                "limit": {"title": "limit", "position": 0, "type": "integer"},
                "names": {
                    "title": "names",
                    "position": 1,
                    "type": "array",
                    "items": {"type": "string"},
                    "default": ["a"],
                },
            },
            "required": ["limit"],
        },
    }
    assert reconciler("validate").code == 0
    again = reconciler(
        *("generate", "deployment", "flows/etl.py:etl", "-n", "x"),
        *("--out", "deployments/nightly.yaml"),
    )
    assert (again.code, "is there already" in again.err) == (64, True)


def test_without_a_file_it_goes_to_stdout_alone(reconciler, tree):
    done = reconciler(
        "generate", "deployment", "flows/etl.py:etl", "-n", "x", "-ib", "process/local"
    )
    assert yaml.safe_load(done.out)["infrastructure"] == "process/local"
    assert done.err == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("flows/etl.py", "is no entrypoint"),
        ("flows/none.py:etl", "can't be read"),
        ("flows/etl.py:none", "has no function none"),
        ("flows/etl.py:etl -i process -ib process/x", "exclude each other"),
        ("flows/etl.py:etl --cron x --interval 5", "one of --cron"),
        ("flows/etl.py:etl --timezone UTC", "belongs to a schedule"),
        ("flows/etl.py:etl --param lmit=3", "did you mean limit?"),
        ("flows/etl.py:etl --override nothing", "is no NAME=VALUE"),
    ],
)
def test_what_does_not_fit_is_said(reconciler, tree, line, said):
    done = reconciler("generate", "deployment", *line.split(), "-n", "x")
    assert (done.code, said in done.err) == (64, True), done.err


def test_what_would_be_no_deployment_is_not_written(reconciler, tree):
    done = reconciler("generate", "deployment", "flows/etl.py:etl", "-n", "x", "--cron", "nonsense")
    assert done.code == 1
    assert "cron" in done.err
