"""Following a source: a revision is taken whole or not at all, and the last good one stays in force."""

import pytest

from reconciler.controller.follow import Follower
from reconciler.controller.pipeline import Desk
from reconciler.errors import InvalidManifests, Overloaded, SourceUnavailable
from reconciler.manifests.load import LoadOptions
from reconciler.model.wishes import Wishes
from tests.fakes import kinds as memory
from tests.fakes.manifest_kinds import FakeDeployment
from tests.fakes.manual_clock import ManualClock
from tests.fakes.prefect_memory import MemoryApi, MemoryPrefect
from tests.fakes.source import ScriptedSource, snapshot_of

pytestmark = pytest.mark.anyio

POLICY = {"reconciler.yaml": "name: prod\n"}


class Deployment(memory.MemoryDeployment):
    """Reads documents; `unsupported` is a field that no server can hold."""

    offline = FakeDeployment()

    def recognises(self, document):
        return self.offline.recognises(document)

    def parse(self, document):
        fields = {k: v for k, v in document.value.items() if k != "kind"}
        unsupported = fields.pop("unsupported", None)
        name = {k: fields.pop(k) for k in ("flow_name", "name")}
        parsed = self.offline.parse(type(document)(name, document.place))
        declared = parsed.declarations[0]
        extra = {} if unsupported is None else {"unsupported": unsupported}
        return type(parsed)(
            (type(declared)(declared.key, {**fields, **extra}, document.place),), parsed.problems
        )


def revision(text, number):
    document = f"kind: Deployment\nflow_name: etl\nname: nightly\n{text}\n"
    return snapshot_of({**POLICY, "things.yaml": document}, revision=number * 40)


GOOD = revision("description: good", "1")
BETTER = revision("description: better", "2")
UNFIT = revision("unsupported: 1", "3")
BROKEN = revision("description: [", "4")


class Following:
    def __init__(self, *snapshots, fault=None):
        self.server = MemoryPrefect()
        self.served = []
        desk = Desk(MemoryApi(self.server, fault), (Deployment(),), ManualClock(), "test")
        self.follower = Follower(
            desk, ScriptedSource(*snapshots), LoadOptions(), Wishes(), self.serve
        )

    async def serve(self, snapshot):
        self.served.append(snapshot.revision[0])

    async def turn(self):
        return await self.follower.turn()

    @property
    def live(self):
        return self.server.named("deployment/etl/nightly")["fields"]["description"]


async def test_a_good_revision_is_applied_and_its_flow_code_served():
    following = Following(GOOD, BETTER)
    first, second = await following.turn(), await following.turn()
    assert first.report.converged
    assert first.fresh
    assert second.fresh
    assert following.live == "better"
    assert following.served == ["1", "2"]
    assert not (await following.turn()).fresh


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (BROKEN, InvalidManifests),
        (UNFIT, InvalidManifests),
        (SourceUnavailable("the remote is away"), SourceUnavailable),
    ],
)
async def test_beside_a_bad_revision_the_last_good_one_is_healed_to_and_its_code_served(bad, error):
    following = Following(GOOD, bad)
    await following.turn()
    following.server.named("deployment/etl/nightly")["fields"]["description"] = "by hand"
    turn = await following.turn()
    assert isinstance(turn.error, error)
    assert turn.report.converged
    assert not turn.fresh
    assert following.live == "good"
    assert following.served == ["1", "1"]
    assert following.follower.desired.revision == GOOD.revision


@pytest.mark.parametrize("bad", [BROKEN, UNFIT])
async def test_a_bad_first_revision_does_nothing_and_serves_nothing(bad):
    following = Following(bad)
    turn = await following.turn()
    assert turn.report is None
    assert isinstance(turn.error, InvalidManifests)
    assert following.served == []
    assert not following.server.objects


async def test_a_server_that_does_not_answer_is_an_error_of_the_turn():
    down = []
    following = Following(GOOD, fault=lambda _: "503" if down else None)
    await following.turn()
    down.append(True)
    turn = await following.turn()
    assert turn.report is None
    assert isinstance(turn.error, Overloaded)
