"""A follower of a scripted source at a server in memory."""

from reconciler.controller.follow import Follower
from reconciler.controller.pipeline import Desk
from reconciler.manifests.load import LoadOptions
from reconciler.model.keys import Key
from reconciler.model.values import Ref
from reconciler.model.wishes import Wishes
from tests.fakes import kinds as memory
from tests.fakes.manifest_kinds import FakeBlock, FakeDeployment
from tests.fakes.manual_clock import ManualClock
from tests.fakes.prefect_memory import MemoryApi, MemoryPrefect
from tests.fakes.source import ScriptedSource, snapshot_of


class Deployment(memory.MemoryDeployment):
    """Reads documents; `unsupported` is a field that no server can hold."""

    offline = FakeDeployment()

    def recognises(self, document):
        return self.offline.recognises(document)

    def parse(self, document):
        fields = {k: v for k, v in document.value.items() if k != "kind"}
        unsupported = fields.pop("unsupported", None)
        name = {k: fields.pop(k) for k in ("flow_name", "name")}
        if "infrastructure" in fields:
            fields["infrastructure"] = Ref(Key.parse(f"block/{fields['infrastructure']}"))
        parsed = self.offline.parse(type(document)(name, document.place))
        declared = parsed.declarations[0]
        extra = {} if unsupported is None else {"unsupported": unsupported}
        return type(parsed)(
            (type(declared)(declared.key, {**fields, **extra}, document.place),), parsed.problems
        )


class Block(memory.MemoryBlock):
    """Reads documents; `{$ref: slug/name}` in `data` is a reference."""

    offline = FakeBlock()

    def recognises(self, document):
        return self.offline.recognises(document)

    def parse(self, document):
        return self.offline.parse(document)


def revision(text, number, policy="name: prod\n"):
    """Return a tree with one deployment."""
    document = f"kind: Deployment\nflow_name: etl\nname: nightly\n{text}\n"
    files = {"reconciler.yaml": policy, "things.yaml": document}
    return snapshot_of(files, revision=number * 40)


class Following:
    def __init__(self, *snapshots, fault=None, permit=None, secrets=None):
        self.server = MemoryPrefect()
        self.served = []
        self.api = MemoryApi(self.server, fault)
        desk = Desk(self.api, (Block(), Deployment()), ManualClock(), "test")
        self.source = ScriptedSource(*snapshots)
        self.secrets = secrets if secrets is not None else {}
        options = LoadOptions(secret_env=self.secrets)
        self.follower = Follower(desk, self.source, options, Wishes(), self.serve, permit=permit)

    async def serve(self, snapshot):
        self.served.append(snapshot.revision[0])

    async def turn(self):
        return await self.follower.turn()

    @property
    def live(self):
        return self.server.named("deployment/etl/nightly")["fields"]["description"]

    @live.setter
    def live(self, text):
        """Change it behind git's back."""
        self.server.named("deployment/etl/nightly")["fields"]["description"] = text
