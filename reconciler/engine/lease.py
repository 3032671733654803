"""The lease: one writer at a time, on both Prefect versions, with nothing but block documents."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import anyio

from reconciler.api.client import Api
from reconciler.engine.documents import LEASE_TYPE, Form, Record, Records
from reconciler.engine.inventory import record_name
from reconciler.errors import (
    AlreadyExists,
    AnswerLost,
    LeaseHeld,
    LeaseLost,
    NotFound,
    ReconcilerError,
)
from reconciler.runtime.clock import Clock

TTL = 120.0
"""Seconds without a sign of life after which a holder counts as dead.

A Prefect 3.8.8 server on SQLite can stand still for 60 s while agents and writers are at work
(tried); a writer stops at two thirds of this, and should outlast that.
"""
_RENEWALS = 10  # renewals within a TTL
_PATIENCE = 1 / 8  # share of the TTL that one renewal may take: a hanging one is started anew
_SAFE_SHARE = 2 / 3  # of the TTL, after which we no longer trust our own lease
_POLL = 1.0
_LOST_ANSWERS = 5

_FORM = Form(
    slug=LEASE_TYPE,
    title="Reconciler Lease",
    description="Who may write what a git repository owns here. Written by the reconciler.",
    properties={
        "holder": {"title": "Holder", "type": "string"},
        "ttl": {"title": "Seconds", "type": "number"},
    },
)


class Lease:
    """Held for as long as the context lasts; renewed behind the scenes.

    `async with Lease(api, clock, inventory, holder, wait=30) as lease:` and then `lease.check()`
    before every write.
    """

    def __init__(
        self,
        api: Api,
        clock: Clock,
        inventory: str,
        holder: str,
        *,
        wait: float = 0.0,
        ttl: float = TTL,
    ) -> None:
        """Make a lease, not yet acquired.

        Args:
            api: the server.
            clock: for renewals and waiting.
            inventory: what is written under it.
            holder: our name, for people.
            wait: seconds to wait for another holder, `--lock-timeout`.
            ttl: seconds without a sign of life after which we count as dead.
        """
        self._api = api
        self._clock = clock
        self._records = Records(api, _FORM)
        self._inventory = inventory
        self._name = record_name(inventory)
        self._data = {"holder": holder, "token": uuid4().hex, "ttl": ttl}
        self._wait = wait
        self._ttl = ttl
        self._record: Record | None = None
        self._renewed = 0.0
        self._lost: str | None = None
        self._lost_answers = 0
        self._callbacks: list[Callable[[], object]] = []
        self._context: AbstractAsyncContextManager[None] | None = None

    async def __aenter__(self) -> Self:
        self._context = self._hold()
        await self._context.__aenter__()
        return self

    async def __aexit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._context is not None  # noqa: S101 - entered, or Python would not exit
        return await self._context.__aexit__(type_, error, traceback)

    def check(self) -> None:
        """Make sure that we may write. Call it directly before every write.

        Raises:
            LeaseLost: it was taken, or could not be renewed for two thirds of its time.
        """
        if self._lost is None and self._clock.monotonic() - self._renewed > self._safe:
            self._lose("it could not be renewed in time")
        if self._lost is not None:
            raise LeaseLost(
                f"the lease on {self._inventory} is lost: {self._lost}; nothing more was written",
                hint="run again: what was done is kept, the rest is done then",
            )

    async def confirm(self) -> None:
        """Ask the server whether we still hold it. Call it before the inventory is written.

        The inventory is written whole, shard by shard: a writer that does not know yet that it
        was replaced would take the other's entries away.

        Raises:
            LeaseLost: as `check`.
        """
        if self._record is not None and not await self._records.exists(self._record):
            self._lose("another writer took it")
        self.check()

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Have something called as soon as the lease is lost: a cancel scope's `cancel`."""
        self._callbacks.append(callback)

    @property
    def spare(self) -> float:
        """Seconds after `check` has passed in which surely nobody else holds the lease."""
        return self._ttl - self._safe

    @property
    def _safe(self) -> float:
        return self._ttl * _SAFE_SHARE

    def _lose(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
            for callback in self._callbacks:
                callback()

    @asynccontextmanager
    async def _hold(self) -> AsyncIterator[None]:
        await self._acquire()
        failure: Exception | None = None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._renew)
                group.start_soon(self._watch)
                try:
                    yield
                except Exception as error:  # noqa: BLE001 - raised below, outside the task group
                    failure = error  # the group would wrap it
                group.cancel_scope.cancel()
        finally:
            with anyio.move_on_after(self._ttl * _PATIENCE, shield=True):
                await self._release()
        if failure is not None:
            raise failure

    async def _acquire(self) -> None:
        deadline = self._clock.monotonic() + self._wait
        while not await self._posted():
            found = await self._records.named(self._name)
            if found is None:  # let go of meanwhile; or it is the type that is gone
                self._records.forget()
                continue
            if found.data.get("token") == self._data["token"]:
                self._record = found  # ours after all: its answer was lost
                return
            if _dead(found, self._api):
                await self._records.delete(found)
            elif self._clock.monotonic() >= deadline:
                raise _held(found, self._inventory)
            else:
                await self._clock.sleep(_POLL)

    async def _posted(self) -> bool:
        """Try to create the document: whoever succeeds holds the lease."""
        self._renewed = self._clock.monotonic()
        try:
            self._record = await self._records.create(self._name, self._data)
        except AlreadyExists:
            return False
        except AnswerLost:
            self._lost_answers += 1
            if self._lost_answers > _LOST_ANSWERS:
                raise
            return False
        return True

    async def _renew(self) -> None:
        pause = self._ttl / _RENEWALS
        while self._lost is None:
            await self._clock.sleep(pause)
            # After a failure soon again; `_watch` knows when that has gone on for too long.
            pause = self._ttl / _RENEWALS if await self._renewed_once() else _POLL

    async def _renewed_once(self) -> bool:
        assert self._record is not None  # noqa: S101 - acquired before
        sent = self._clock.monotonic()
        try:
            with anyio.move_on_after(self._ttl * _PATIENCE):
                await self._records.replace(self._record, self._data, urgent=True)
                self._renewed = sent
                return True
        except NotFound:
            self._lose("another writer took it")
        except ReconcilerError:
            pass
        return False

    async def _watch(self) -> None:
        """Stop writers in time even while a renewal hangs."""
        while self._lost is None:
            left = self._renewed + self._safe - self._clock.monotonic()
            if left < 0:
                self._lose("it could not be renewed in time")
                return
            await self._clock.sleep(max(left, 0.01))

    async def _release(self) -> None:
        if self._record is None or self._lost is not None:
            return
        try:
            await self._records.delete(self._record)
        except ReconcilerError:
            return  # it dies by itself


async def unlock(api: Api, inventory: str) -> Mapping[str, Any] | None:
    """Free the lease of a dead holder.

    Returns:
        What the dead lease said (`holder`), None if there was no lease.

    Raises:
        LeaseHeld: its holder is alive.
    """
    records = Records(api, _FORM)
    found = await records.named(record_name(inventory))
    if found is None:
        return None
    if not _dead(found, api):
        raise _held(found, inventory)
    await records.delete(found)
    return found.data


def _dead(record: Record, api: Api) -> bool:
    """Whether a holder's last sign of life is too old, both by the server's clock."""
    ttl = timedelta(seconds=float(record.data.get("ttl", TTL)))
    return record.updated + ttl < api.now()


def _held(record: Record, inventory: str) -> LeaseHeld:
    holder = record.data.get("holder", "another writer")
    ttl = float(record.data.get("ttl", TTL))
    return LeaseHeld(
        f"{holder} is writing {inventory} (last sign of life {record.updated:%H:%M:%S} UTC)",
        hint=f"wait with --lock-timeout; if it is dead, it is replaced after {ttl:.0f} s",
    )
