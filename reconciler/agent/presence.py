"""Presence: this agent's heartbeat as a worker of its pool, and what is known of the others.

The server alone says who is OFFLINE; clocks are never compared (DESIGN 7.2). An agent acts on a
run only while it is sure that the server can't have called it OFFLINE: it counts the time since it
*sent* the last heartbeat that was acknowledged.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

import anyio

from reconciler.agent.tokens import claimant, is_token
from reconciler.api import pools
from reconciler.api.client import Api
from reconciler.api.pools import Worker
from reconciler.errors import NotFound, ReconcilerError
from reconciler.runtime.clock import Clock

MISSED = 3
"""Heartbeats that a worker may miss before the server calls it OFFLINE (Prefect 2.20.26 and 3.8.8:
`foreman.inactivity_heartbeat_multiple`)."""
_LAPSE = 0.8
_FAREWELL = 5.0
_BOOT = re.compile(r" ([0-9a-f]{8})-[0-9a-f]{8}$")


class Claimant(Enum):
    """Who made the token of a claimed run."""

    ME = "me"
    ALIVE = "alive"
    GONE = "gone"
    STRANGER = "stranger"  # another program: leave its runs alone


def host_digest(host: str) -> str:
    """Return what stands for a host in the names of its agents."""
    return hashlib.sha256(host.encode()).hexdigest()[:8]


def host_of(worker: str) -> str | None:
    """Return the host digest in a worker's name, None if it is no agent of this program."""
    found = _BOOT.search(worker)
    return None if found is None else found[1]


@dataclass(frozen=True, slots=True)
class Peers:
    """The agents of a pool as one agent sees them at one moment.

    Exactly one living agent leads: the one whose worker was created first. A newcomer never
    leads while an older one lives, and an agent whose heartbeat lapsed comes back under a new name,
    so that two never lead at once.

    Attributes:
        me: the worker name of the agent that looks.
        living: agents that are not gone, oldest first.
        gone: agents that are.
    """

    me: str
    living: tuple[Worker, ...]
    gone: tuple[Worker, ...] = ()

    def who(self, token: str | None) -> Claimant:
        """Tell who made a token."""
        if token is None or not is_token(token):
            return Claimant.STRANGER
        if claimant(token, [self.me]):
            return Claimant.ME
        alive = claimant(token, [worker.name for worker in self.living])
        return Claimant.GONE if alive is None else Claimant.ALIVE

    @property
    def i_lead(self) -> bool:
        """Whether this agent leads the pool."""
        return _leads(self.me, self.living)

    @property
    def i_lead_my_host(self) -> bool:
        """Whether this agent leads those of its host."""
        mine = host_of(self.me)
        return _leads(self.me, [w for w in self.living if host_of(w.name) == mine])

    @property
    def my_host(self) -> str | None:
        """The digest of this agent's host."""
        return host_of(self.me)

    def claimed_on(self, token: str) -> str | None:
        """Return the digest of the host whose agent made a token, None if it is long forgotten."""
        name = claimant(token, [self.me, *(w.name for w in (*self.living, *self.gone))])
        return None if name is None else host_of(name)

    def host_lives(self, host: str) -> bool:
        """Tell whether a host, by its digest, has a living agent."""
        return any(host_of(worker.name) == host for worker in self.living)

    def host_seen(self, host: str) -> datetime | None:
        """Return when an agent of a host was last seen, by the server's clock."""
        seen = [w.heartbeat for w in self.gone if host_of(w.name) == host]
        return max((at for at in seen if at is not None), default=None)


class Presence:
    """Keeps this agent among the living, and knows whether it still is."""

    def __init__(
        self, api: Api, pool: str, name: str, interval: float, clock: Clock, host_dir: Path
    ) -> None:
        self._api = api
        self._pool = pool
        self._name = name
        self._interval = interval
        self._clock = clock
        self._locks = _Locks(host_dir / "agents")
        self._sent: float | None = None
        self.worker = self._new_name()

    @property
    def stale_after(self) -> float:
        """Seconds without a heartbeat after which the server may call an agent OFFLINE."""
        return self._interval * MISSED

    @property
    def fresh(self) -> bool:
        """Whether the last acknowledged heartbeat was sent within half the stale limit."""
        return (
            self._sent is not None and self._clock.monotonic() - self._sent < self.stale_after / 2
        )

    async def beat(self) -> None:
        """Send one heartbeat; after a lapse, under a new name.

        Raises:
            NotFound: the pool is gone.
        """
        sent = self._clock.monotonic()
        await pools.heartbeat(self._api, self._pool, self.worker, self._interval)
        acknowledged = self._clock.monotonic()
        if self._sent is not None and acknowledged - self._sent >= self.stale_after * _LAPSE:
            # The server may have called us OFFLINE in between, and another agent may act for us.
            self.worker = self._new_name()
            sent = self._clock.monotonic()
            await pools.heartbeat(self._api, self._pool, self.worker, self._interval)
        self._sent = sent

    async def keep_beating(self) -> None:
        """Send heartbeats for ever."""
        while True:
            await self.beat()
            await self._clock.sleep(self._interval)

    async def peers(self) -> Peers:
        """Look at the agents of the pool, and take long-gone ones off its list."""
        listed = [w for w in await pools.workers(self._api, self._pool) if host_of(w.name)]
        listed.sort(key=lambda worker: (worker.created, worker.name))
        living = tuple(w for w in listed if w.name == self.worker or not self._is_gone(w))
        return Peers(self.worker, living, tuple(w for w in listed if w not in living))

    async def leave(self) -> None:
        """Say good-bye: nobody has to wait until our heartbeat counts as missed."""
        with contextlib.suppress(ReconcilerError), anyio.move_on_after(_FAREWELL):
            await pools.remove_worker(self._api, self._pool, self.worker)
        self._locks.release(self.worker)

    async def bury(self, workers: Sequence[Worker]) -> None:
        """Take gone agents off the pool's list."""
        for worker in workers:
            with contextlib.suppress(NotFound):
                await pools.remove_worker(self._api, self._pool, worker.name)

    def _is_gone(self, worker: Worker) -> bool:
        if not worker.online:
            return True
        mine = host_of(worker.name) == host_digest(socket.gethostname())
        return mine and self._locks.abandoned(worker.name)

    def _new_name(self) -> str:
        boot = f"{host_digest(socket.gethostname())}-{secrets.token_hex(4)}"
        name = f"{self._name} {boot}"
        self._locks.hold(name)
        return name


class _Locks:
    """File locks that say, on one host, whether the process behind an agent's name still lives.

    The kernel releases them however the process ends. They only ever shorten the wait for OFFLINE.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[str, int] = {}

    def hold(self, worker: str) -> None:
        """Lock a name for as long as this process lives."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path(worker), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._held[worker] = descriptor

    def release(self, worker: str) -> None:
        """Unlock a name and forget it."""
        descriptor = self._held.pop(worker, None)
        if descriptor is not None:
            self._path(worker).unlink(missing_ok=True)
            os.close(descriptor)

    def abandoned(self, worker: str) -> bool:
        """Tell whether a name was locked on this host and its process is gone."""
        if worker in self._held:
            return False
        try:
            descriptor = os.open(self._path(worker), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False  # never seen here, so only the server can tell
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(descriptor)

    def _path(self, worker: str) -> Path:
        return self._directory / f"{hashlib.sha256(worker.encode()).hexdigest()[:32]}.lock"


def _leads(me: str, living: Sequence[Worker]) -> bool:
    return bool(living) and living[0].name == me
