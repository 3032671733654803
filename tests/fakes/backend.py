"""A service behind the pages without any loop: a real board and history, actions written down."""

from datetime import UTC, datetime

from reconciler.controller.board import Board
from reconciler.controller.history import History
from reconciler.model.status import SourceStatus
from reconciler.telemetry.metrics import Metrics
from reconciler.web.backend import AgentStatus, Place
from tests.fakes.following import Following, revision
from tests.fakes.manual_clock import ManualClock

T0 = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "deployment/etl/nightly"


class FakeBackend:
    """Implements `reconciler.web.backend.Backend`."""

    def __init__(self, folder, policy="name: shop\ndrift: report\n"):
        self.clock = ManualClock()
        self.metrics = Metrics()
        self.board = Board(History(folder), self.clock, self.metrics)
        self.following = Following(revision("description: good", "1", policy))
        self.place = Place("http://prefect.test/api", "Prefect 3.8.8", "shop")
        self.source = SourceStatus("https://git.test/org/shop.git", "main", "", "1" * 40, T0)
        self.agent = AgentStatus("host", "default-agent-pool", 1, 4)
        self.unready = None
        self.acts = []

    async def turn(self):
        """Take a turn."""
        turn = await self.following.turn()
        await self.board.turn(turn, self.following.follower.desired, self.clock.now())

    def poll(self):
        self.acts.append("poll")

    def reconcile(self):
        self.acts.append("reconcile")

    def suspend(self, suspended):
        self.acts.append("suspend" if suspended else "resume")
        self.board.suspend(suspended)

    def heal(self, key):
        self.acts.append(f"heal {key}")

    def close(self):
        self.board.history.close()
