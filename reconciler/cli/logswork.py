"""What `reconciler logs` does."""

import uuid
from collections.abc import Sequence

from rich.markup import escape

from reconciler.agent.code import NoCode
from reconciler.agent.loop import Agent
from reconciler.api import runs
from reconciler.api.client import Api
from reconciler.api.runs import FlowRun
from reconciler.app import App
from reconciler.app.agent import AgentListeners, agent_options, make_agent
from reconciler.cli import console
from reconciler.cli.begin import begin
from reconciler.errors import NotFound, UserError

_LOOK_SECONDS = 2.0
_FOLLOWED = 1000
"""Lines that one look asks for; what a run writes more between two looks is left out."""
_FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


async def logs(name: str, lines: int, follow: bool, verbose: int) -> None:
    """Show the log of a run.

    Raises:
        NotFound: there is no such run.
        UserError: nobody has a log of it.
    """
    app = begin(verbose)
    async with app.desk() as desk:
        run = await find(desk.api, name)
        options = agent_options(app.settings.agent, app.settings.connection)
        listeners = AgentListeners(lambda _: None, lambda _run, _line: None)
        agent = make_agent(app, desk.api, options, NoCode(), listeners)
        try:
            told = await agent.logs(run, lines)
            if not told and not follow:
                raise UserError(f"there is no log of the flow run {run.name}", hint=_why(run))
            _write(told)
            if follow:
                await _follow(app, desk.api, agent, run, told)
        finally:
            await agent.close()


async def find(api: Api, name: str) -> FlowRun:
    """Find a run by its id or its name; of several of one name the latest.

    Raises:
        NotFound: there is none.
    """
    try:
        found = await runs.read_run(api, str(uuid.UUID(name)))
    except ValueError:
        named = await runs.find_runs(api, name)
        if len(named) > 1:
            text = (
                f"Several flow runs are called {escape(name)}: this is the latest, {named[0].id}."
            )
            console.say(text)
        found = named[0] if named else None
    if found is None:
        raise NotFound(f"{api.facts} has no flow run {name}", hint="give the id or name of a run")
    return found


async def _follow(app: App, api: Api, agent: Agent, run: FlowRun, told: Sequence[str]) -> None:
    while True:
        now = await runs.read_run(api, run.id)
        ended = now is None or now.state.type in _FINAL
        lines = await agent.logs(now or run, _FOLLOWED)
        _write(unseen(told, lines))
        told = lines or told
        if ended:
            return
        await app.clock.sleep(_LOOK_SECONDS)


def unseen(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """Return the lines that were not there at the last look: what follows its end in the new one."""
    if not before:
        return now
    for start in range(len(now) - 1, -1, -1):
        overlap = min(start + 1, len(before))
        if tuple(now[start + 1 - overlap : start + 1]) == tuple(before[-overlap:]):
            return now[start + 1 :]
    return now


def _write(lines: Sequence[str]) -> None:
    if lines:
        console.write("\n".join(lines))


def _why(run: FlowRun) -> str:
    if run.state.type in {"SCHEDULED", "PENDING"}:
        return "it has not been launched yet"
    return (
        "its infrastructure has none (any more), and no agent kept one in this machine's "
        "RECONCILER_AGENT_STATE_DIR; what the flow logged itself is in Prefect"
    )
