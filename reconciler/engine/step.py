"""One change on its way: the write itself, and what to make of its answer."""

import traceback
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import PurePath

from reconciler.engine.access import Access
from reconciler.engine.lease import Lease
from reconciler.errors import (
    AlreadyExists,
    AnswerLost,
    LeaseLost,
    NotFound,
    ReconcilerError,
    Refused,
    Rejected,
    Transient,
)
from reconciler.kinds.base import Notes, Session
from reconciler.model.desired import Declaration
from reconciler.model.inventory import Entry
from reconciler.model.live import Evidence, Live
from reconciler.model.plan import Action, Change, FieldChange
from reconciler.model.report import Outcome, Result
from reconciler.model.values import Fields
from reconciler.runtime.backoff import Backoff

_CREATE_TRIES = 8


class Fate(Enum):
    """What became of a write."""

    WAITING = auto()  # not tried, or interrupted
    DONE = auto()
    FAILED = auto()  # surely without effect
    UNKNOWN = auto()  # it may have got through


@dataclass
class Step:
    """One change on its way.

    Attributes:
        change: what to do.
        declaration: what git wants; None for a delete.
        live: the object as it was planned with.
        entry: what the inventory said.
        evidence: what the plan knew of a delete.
        intent: what was written ahead of a create.
        notes: what an update takes away, until it has given that back.
        owed: what an earlier update took away and the server refuses to take back yet.
        written: an update has got through, whatever came after it.
        unheard: the answer to a create was lost, so the object may be there.
        fate: what became of it.
        id: of the object, where known.
        error: what went wrong.
        read: the object as read back.
        remaining: what still differs then.
    """

    change: Change
    declaration: Declaration | None = None
    live: Live | None = None
    entry: Entry | None = None
    evidence: Evidence | None = None
    intent: Entry | None = None
    notes: Notes | None = None
    owed: Notes | None = None
    written: bool = False
    unheard: bool = False
    fate: Fate = Fate.WAITING
    id: str | None = None
    error: str | None = None
    read: Live | None = None
    remaining: tuple[FieldChange, ...] = ()

    @property
    def writes(self) -> bool:
        """Whether it is more than a line in the inventory."""
        change = self.change
        if change.action is Action.DELETE:
            return change.id is not None
        return change.action is Action.CREATE or bool(change.target) or change.former is not None

    @property
    def touched(self) -> bool:
        """Whether the object may have been written, so that it is read back."""
        return self.writes and self.fate in (Fate.DONE, Fate.UNKNOWN)

    @property
    def fields(self) -> Fields:
        """The live fields after the write: as read back, or else as they should be."""
        if self.read is not None:
            return self.read.fields
        before = {} if self.live is None else self.live.fields
        return {**before, **self.change.target}

    def fail(self, error: str) -> None:
        """Note that the write did not do what it should."""
        self.fate, self.error = Fate.UNKNOWN, error

    def outcome(self) -> Outcome:
        """Return its end, for the report."""
        result = Result.DONE if self.fate is Fate.DONE else Result.FAILED
        return Outcome(self.change, result, self.error, self.remaining, self.id)


async def prepare(step: Step, access: Access, lease: Lease) -> None:
    """Finish what an earlier apply left, and note what this update is about to take away.

    Where that fails, the change is not begun.

    Raises:
        LeaseLost: nothing more may be written at all.
    """
    try:
        await _finish_earlier(step, access, lease)
        step.notes = await _foresee(step, access)
    except LeaseLost:
        raise
    except ReconcilerError as error:
        step.fate, step.error = Fate.FAILED, _said(error)
    except Exception as error:  # noqa: BLE001 - as in `carry_out`
        step.fate, step.error = Fate.FAILED, _bug(error)


async def _finish_earlier(step: Step, access: Access, lease: Lease) -> None:
    """Give back what an update took away whose process died.

    What the server refuses to take back does not keep a change from being made: it may be the one that
    mends the object. It stays owed, and the next apply tries again.
    """
    notes = None if step.entry is None else step.entry.notes
    if notes is None or step.live is None or step.change.action is Action.DELETE:
        return
    lease.check()
    try:
        await access.kind(step.change.key).after_update(access.session, step.live, notes)
    except Rejected:
        if not step.writes:
            raise
        step.owed = notes


async def _foresee(step: Step, access: Access) -> Notes | None:
    if step.change.action not in (Action.UPDATE, Action.ADOPT) or not step.writes:
        return None
    assert step.live is not None  # noqa: S101 - the plan was made with it
    kind = access.kind(step.change.key)
    return await kind.before_update(access.session, step.live, step.change.target)


async def carry_out(step: Step, access: Access, lease: Lease, again: Session) -> None:
    """Do one change; a failure becomes its fate.

    Args:
        step: the change.
        access: the server.
        lease: held.
        again: a session that remembers nothing, for the second look before a delete.

    Raises:
        LeaseLost: nothing more may be written at all.
    """
    step.id = step.change.id
    if step.fate is Fate.FAILED:
        return
    try:
        if step.writes:
            await _write(step, access, lease, again)
    except LeaseLost:
        raise
    except Transient as error:
        step.fate, step.error = Fate.UNKNOWN, _said(error)
    except ReconcilerError as error:
        made = step.unheard or _is_made(step, access)
        step.fate, step.error = Fate.UNKNOWN if made else Fate.FAILED, _said(error)
    except Exception as error:  # noqa: BLE001 - a bug in one kind must not stop the others
        step.fate, step.error = Fate.UNKNOWN, _bug(error)
    else:
        step.fate = Fate.DONE


def _is_made(step: Step, access: Access) -> bool:
    """Whether a create has made its object before something that belongs to it was refused."""
    return step.change.action is Action.CREATE and step.change.key in access.session.index.ids


async def _write(step: Step, access: Access, lease: Lease, again: Session) -> None:
    if step.change.action is Action.CREATE:
        await _create(step, access, lease)
    elif step.change.action is Action.DELETE:
        await _delete(step, access, lease, again)
    else:
        await _update(step, access, lease)


def _said(error: ReconcilerError) -> str:
    return error.message + (f" ({error.hint})" if error.hint else "")


def _bug(error: Exception) -> str:
    """Name an unexpected error by type and place only: its text may quote a secret."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{PurePath(last.filename).name}:{last.lineno}"
    return f"unexpected {type(error).__name__} at {where}: a bug, please report it"


async def _create(step: Step, access: Access, lease: Lease) -> None:
    """Create; after a lost answer look whether the object is there before trying again."""
    access.session.index.drop(step.change.key)  # of what bore the name before
    for number, delay in enumerate(Backoff().delays(), start=1):
        lease.check()
        try:
            await _create_once(step, access)
        except AnswerLost:
            step.unheard = True
            if await _made_after_all(step, access):
                return
            if number >= _CREATE_TRIES:
                raise
            await access.clock.sleep(delay)
        else:
            return


async def _create_once(step: Step, access: Access) -> None:
    key = step.change.key
    try:
        written = await access.kind(key).create(access.session, key, step.change.target)
    except AlreadyExists:
        # Ours, if an earlier request of which we heard nothing arrived late.
        if step.unheard and await _made_after_all(step, access):
            return
        _is_theirs(step, access)
        raise
    if written.existed and not await _made_after_all(step, access):
        _is_theirs(step, access)
        raise AlreadyExists("somebody else created it at the same time")
    _found(step, written.id, access)


def _is_theirs(step: Step, access: Access) -> None:
    """Note that the name is somebody else's: ours has surely not been made."""
    step.unheard = False
    access.session.index.drop(step.change.key)


async def _made_after_all(step: Step, access: Access) -> bool:
    """Whether the object exists, and was created no earlier than we meant to."""
    live = await access.kind(step.change.key).find(access.session, step.change.key)
    since = None if step.intent is None else step.intent.since
    if live is None or live.created is None or since is None or live.created < since:
        return False
    _found(step, live.id, access)
    return True


def _found(step: Step, id_: str, access: Access) -> None:
    step.id = id_
    access.session.index.add(step.change.key, id_)


async def _update(step: Step, access: Access, lease: Lease) -> None:
    assert step.live is not None  # noqa: S101 - the plan was made with it
    kind = access.kind(step.change.key)
    lease.check()
    try:
        if step.change.former is not None:
            await kind.rename(access.session, step.live, step.change.former)
        if step.change.target:
            await kind.update(access.session, step.live, step.change.target)
        step.written = True
        await _give_back(step, step.live, access)
    except NotFound as error:
        raise NotFound("it was deleted meanwhile; the next run creates it") from error


async def _give_back(step: Step, live: Live, access: Access) -> None:
    if step.notes is not None:
        kind = access.kind(step.change.key)
        await kind.after_update(access.session, replace(live, fields=step.fields), step.notes)
        step.notes = None


async def got_through(step: Step, live: Live, access: Access) -> None:
    """Call an update done of which only the answer was lost, once what it took is given back."""
    try:
        await _give_back(step, live, access)
    except ReconcilerError as error:
        step.error = _said(error)
    else:
        step.fate, step.error = Fate.DONE, None


async def _delete(step: Step, access: Access, lease: Lease, again: Session) -> None:
    """Delete, after another look: between plan and apply things may have come to depend on it."""
    key, session = step.change.key, access.session
    kind = access.kind(key)
    assert step.change.id is not None  # noqa: S101 - it writes
    assert step.evidence is not None  # noqa: S101 - no delete without
    try:
        now = await kind.evidence(again, key, step.change.id)
    except NotFound:
        return
    if not now.present:
        return
    reason = _grown(step.evidence, now)
    if reason is not None:
        raise Refused(f"{reason} since the plan was made", hint="plan again")
    live = step.live
    if live is None or live.id != step.change.id:  # somebody else's bears its name
        live = await kind.read(session, key, step.change.id)
    if live is None:
        return
    lease.check()
    await kind.delete(session, live)
    session.index.drop(key)


def _grown(planned: Evidence, now: Evidence) -> str | None:
    if now.active_runs and not planned.active_runs:
        return f"{now.active_runs} flow run(s) have become active"
    if now.cascades and not planned.cascades:
        return f"more would go with it ({'; '.join(now.cascades)})"
    taken = [what for id_, what in now.takes.items() if id_ not in planned.takes]
    return f"more would go with it ({'; '.join(taken)})" if taken else None
