"""Marks each applied commit on its forge."""

import json
import math
from functools import partial

import anyio
import anyio.to_thread

from reconciler import outgoing
from reconciler.app.servicelog import log
from reconciler.controller.follow import Reconciled
from reconciler.controller.history import History
from reconciler.errors import HistoryUnavailable, InvalidManifests, ReconcilerError
from reconciler.forge import CommitStatus, Project, Verdict, forge_of, project_of
from reconciler.model.report import Report, Result
from reconciler.runtime.clock import Clock
from reconciler.settings import ForgeSettings

_PATIENCE = 300.0
_MOST_WAITING = 50
_NOTE = "marked commit"


def token_of(settings: ForgeSettings) -> str:
    """Return the token as it is now; "" where its file can't be read."""
    if settings.token_file is not None:
        try:
            return settings.token_file.read_text(encoding="utf-8").strip()
        except OSError:
            return ""
    return settings.token.get_secret_value() if settings.token else ""


class Statuses:
    """Sends statuses one after the other; the loops that make them never wait for the forge."""

    def __init__(
        self, project: Project, settings: ForgeSettings, clock: Clock, history: History
    ) -> None:
        self._project = project
        self._settings = settings
        self._clock = clock
        self._history = history
        self._said = _noted(history)
        self._in, self._out = anyio.create_memory_object_stream[tuple[str, CommitStatus]](math.inf)

    def turn(self, turn: Reconciled, link: str | None) -> None:
        """Mark the commit that a turn was about.

        Later turns about it mark it again only if they end otherwise: they have nothing to do any
        more, which is no news, nor is it after a restart.

        Args:
            turn: what it did.
            link: to where people read more.
        """
        said = _of_turn(turn)
        if said is None:
            return
        commit, verdict, text = said
        if self._said == (commit, verdict.value):
            return
        if self._in.statistics().current_buffer_used < _MOST_WAITING:
            self._said = (commit, verdict.value)
            self._in.send_nowait((commit, CommitStatus(verdict, text, self._settings.name, link)))

    async def run(self) -> None:
        """Send what was said, for ever."""
        async with outgoing.client() as http:
            forge = forge_of(http, self._project, partial(token_of, self._settings))
            while True:
                commit, status = await self._out.receive()
                send = partial(forge.mark, commit, status)
                try:
                    await outgoing.patiently(send, self._clock, _PATIENCE)
                    note = json.dumps([commit, status.verdict.value])
                    await anyio.to_thread.run_sync(self._history.note, _NOTE, note)
                except ReconcilerError as error:
                    log.warning("a commit status was not set", reason=error.message)


def statuses(
    settings: ForgeSettings, repository: str, clock: Clock, history: History
) -> Statuses | None:
    """Make what marks commits; None where no token was given, or the forge isn't known."""
    if settings.token is None and settings.token_file is None:
        return None
    place = project_of(repository, settings.kind, settings.url, settings.project)
    if place is None:
        log.warning(
            "no commit statuses: the repository's address does not tell which forge it is on",
            hint="set RECONCILER_FORGE to github, gitlab or gitea",
        )
        return None
    return Statuses(place, settings, clock, history)


def _noted(history: History) -> tuple[str, str] | None:
    try:
        commit, verdict = json.loads(history.noted(_NOTE) or "[null, null]")
    except HistoryUnavailable:
        return None
    return None if commit is None else (commit, verdict)


def _of_turn(turn: Reconciled) -> tuple[str, Verdict, str] | None:
    if isinstance(turn.error, InvalidManifests) and turn.newest is not None:
        # What the source knows by now may be newer, and good.
        return turn.newest, Verdict.FAILURE, turn.error.message
    if turn.report is None or turn.error is not None:
        return None
    verdict = Verdict.SUCCESS if turn.report.converged else Verdict.FAILURE
    revision = turn.report.plan.revision
    return None if revision is None else (revision, verdict, _words(turn.report))


def _words(report: Report) -> str:
    if report.error:
        return f"stopped: {report.error}"
    counts = {one: sum(o.result is one for o in report.outcomes) for one in Result}
    names = {
        Result.DONE: "applied",
        Result.FAILED: "failed",
        Result.SKIPPED: "skipped",
        Result.HELD: "held back",
    }
    parts = [f"{count} {names[one]}" for one, count in counts.items() if count]
    return f"{', '.join(parts) or 'nothing to change'}, {report.plan.unchanged} in step"
