import pytest

from reconciler.kinds import KINDS
from reconciler.manifests.load import LoadOptions, load
from tests.fakes.trees import tree


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_is_explained_with_an_example_that_is_valid(reconciler, kind):
    done = reconciler("explain", kind.name)
    assert done.code == 0
    for field in kind.schema()["properties"]:
        assert field == "kind" or f"  {field}" in done.out
    assert kind.example.splitlines()[1] in done.out
    files = {"reconciler.yaml": "name: x\n", "a.yaml": kind.example}
    assert load(tree(files), LoadOptions(), KINDS).declarations


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("deployment.schedules", ["cron", "For example 0 3 * * *", "list of mapping"]),
        ("Deployment.schedules.timezone", ["IANA name"]),
        ("Block.docker-container", ["image", "image_pull_policy"]),
        ("Block.docker-container.env", ["mapping"]),
        ("Block.data", ["Prefect's names"]),
        ("Policy.prune", ["max_deletes", "= 10"]),
        ("WorkPool.type", ["needed", "prefect-agent"]),
    ],
)
def test_fields_and_block_types_are_explained(reconciler, subject, said):
    done = reconciler("explain", subject)
    assert done.code == 0, done.err
    for words in said:
        assert words in done.out


@pytest.mark.parametrize(
    ("subject", "hint"),
    [
        ("Deploymint", "did you mean Deployment?"),
        ("Deployment.shedules", "did you mean schedules?"),
        ("Block.docker-contaner", "did you mean docker-container?"),
        ("Deployment.schedules.crn", "did you mean cron?"),
    ],
)
def test_what_is_none_gets_a_hint(reconciler, subject, hint):
    done = reconciler("explain", subject)
    assert (done.code, hint in done.err) == (64, True), done.err
