"""What a plan has to know of the server, and what is wrong with it."""

import pytest

from reconciler.errors import InvalidManifests
from reconciler.model.keys import Key
from reconciler.model.plan import Action
from reconciler.model.problems import Problem, Severity
from reconciler.model.values import Ref
from tests.fakes.bench import BLOCK, DEPLOYMENT, Bench, declare, tree
from tests.fakes.kinds import HERE

pytestmark = pytest.mark.anyio


async def test_every_problem_is_said_at_once_and_nothing_is_planned():
    missing = Key.of("block", "process", "bas")
    bench = Bench()
    bench.server.put(str(BLOCK), {"data": {}})
    with pytest.raises(InvalidManifests) as error:
        await bench.plan(
            tree(
                declare(DEPLOYMENT, infrastructure=Ref(missing)),
                declare(Key.of("deployment", "etl", "b"), unsupported=1),
            )
        )
    texts = sorted(map(str, error.value.problems))
    assert len(texts) == 2
    assert f"{missing} is neither in this tree nor on the server" in texts[1]
    assert "did you mean block/process/base?" in texts[1]
    assert texts[1].startswith("things.yaml:2:1:")
    assert "can't hold unsupported" in texts[0]


async def test_a_reference_may_lead_to_what_only_the_server_has():
    bench = Bench()
    block = bench.server.put(str(BLOCK), {"data": {}})
    desired = tree(declare(DEPLOYMENT, infrastructure=Ref(BLOCK)))
    assert (await bench.apply(desired)).converged
    assert bench.server.named(str(DEPLOYMENT))["fields"]["infrastructure"] == {"$id": block["id"]}
    assert (await bench.plan(desired)).empty


async def test_a_reference_is_looked_up_by_itself_where_the_listing_failed():
    bench = Bench()
    bench.server.put(str(BLOCK), {"data": {}})

    def failing(request):
        wanted = request.path == "/things/filter" and request.body["kind"] == "block"
        return "503" if wanted else None

    plan = await bench.plan(tree(declare(DEPLOYMENT, infrastructure=Ref(BLOCK))), failing)
    assert [c.action for c in plan.changes] == [Action.CREATE]


async def test_a_reference_to_an_unknown_kind_is_a_problem():
    with pytest.raises(InvalidManifests):
        await Bench().plan(tree(declare(DEPLOYMENT, infrastructure=Ref(Key.of("flow", "x")))))


async def test_an_object_under_our_name_is_found_where_the_listing_failed():
    bench = Bench()
    bench.server.put(str(BLOCK), {"data": {}})
    plan = await bench.plan(
        tree(declare(BLOCK, data={})), lambda r: "503" if r.path == "/things/filter" else None
    )
    assert [c.action for c in plan.changes] == [Action.ADOPT]


async def test_warnings_become_notices():
    warning = Problem(HERE, "odd", severity=Severity.WARNING)
    plan = await Bench().plan(tree(declare(BLOCK, data={}), warnings=(warning,)))
    assert plan.notices == ("things.yaml:1:1: odd",)


async def test_requests_are_counted():
    bench = Bench()
    plan = await bench.plan(tree(declare(BLOCK, data={})))
    assert plan.reads == 2  # the inventories and the blocks
