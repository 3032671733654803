"""What the commands do: the wiring called in order, and the results shown."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import anyio.to_thread

from reconciler.app import App
from reconciler.cli import console
from reconciler.cli.begin import begin
from reconciler.cli.exits import DIFFERENT, DONE, FAILED
from reconciler.cli.options import PlanFormat
from reconciler.cli.prompt import ask, require_terminal
from reconciler.cli.render import Format, markdown, render
from reconciler.cli.render.words import counted
from reconciler.cli.saved import SavedPlan
from reconciler.controller import pipeline
from reconciler.controller.pipeline import Planned
from reconciler.errors import HistoryUnavailable, InvalidManifests, Refused, UsageError
from reconciler.kinds import KINDS
from reconciler.model.desired import DesiredState
from reconciler.model.keys import Key
from reconciler.model.plan import Plan
from reconciler.model.problems import Problem, Severity
from reconciler.model.report import Report
from reconciler.model.wishes import Location, Wishes


@dataclass(frozen=True, slots=True)
class Consent:
    """How the user agrees to an apply.

    Attributes:
        yes: `--yes`.
        saved: a plan that was looked at before.
        form: format of the report; JSON leaves stdout to itself.
        confirm: the inventory's name, typed beforehand (`destroy`).
    """

    yes: bool = False
    saved: SavedPlan | None = None
    form: PlanFormat = PlanFormat.text
    confirm: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a validation."""

    problems: tuple[Problem, ...] = ()
    resources: int = 0
    files: int = 0
    server: str | None = None
    warnings: tuple[Problem, ...] = field(default=())

    @property
    def valid(self) -> bool:
        """Whether nothing stops the revision."""
        return not any(p.severity is Severity.ERROR for p in self.problems)


async def plan(app: App, where: Location, wishes: Wishes) -> Plan:
    """Make a plan."""
    from reconciler.app.preflight import preflight

    desired = await _desired(app, where, wishes)
    async with app.desk() as desk:
        made = (await pipeline.make_plan(desk, desired, wishes)).plan
        changed = {change.key for change in made.changes}
        found = await preflight(app, desk.api, desired, changed)
    return replace(made, notices=(*made.notices, *map(str, found)))


async def drift(app: App, where: Location, wishes: Wishes) -> Plan:
    """Make a plan of drift alone, and keep in mind when each was first seen."""
    from reconciler.controller.drifts import dated, note_drifts
    from reconciler.controller.history import History

    desired = await _desired(app, where, wishes)
    async with app.desk() as desk:
        made = (await pipeline.make_plan(desk, desired, wishes)).plan
    name = f"{made.inventory} ({made.environment})" if made.environment else made.inventory
    folder = app.settings.service.state_dir / "drift" / quote(name, safe=" ()")
    try:
        history = await anyio.to_thread.run_sync(History, folder)
    except HistoryUnavailable as error:
        return replace(made, notices=(*made.notices, f"first seen is not kept: {error.message}"))
    with closing(history):
        now, whole = app.clock.now(), not wishes.targets
        return dated(made, note_drifts(history, made, desired, now, whole=whole))


async def plan_or_problems(app: App, where: Location, wishes: Wishes, form: PlanFormat) -> Plan:
    """Make a plan; in Markdown the problems that prevent it are written to stdout as well.

    Reviewers read the comment in the pull request, not the log of a job.
    """
    try:
        return await plan(app, where, wishes)
    except InvalidManifests as error:
        if form is PlanFormat.markdown:
            console.write(markdown.problems(error.problems))
        raise


async def apply(app: App, where: Location, wishes: Wishes, consent: Consent) -> Report:
    """Plan, ask, apply. Whoever calls it has seen to it that somebody can be asked."""
    desired = await _desired(app, where, wishes)
    async with app.desk() as desk:
        planned = await pipeline.make_plan(desk, desired, wishes)
        if consent.saved is not None:
            pipeline.require_same(planned, consent.saved.digest)
        elif not consent.yes and planned.plan.effective:
            _show_to_confirm(planned.plan)
            await _ask("Apply this plan?")
        confirmed = consent.saved is not None or not consent.yes
        return await _carry_out(desk, planned, wishes, confirmed=confirmed)


async def destroy(where: Location, wishes: Wishes, consent: Consent, verbose: int) -> Report:
    """Delete what the inventory owns, after its name was typed."""
    app = begin(verbose)
    desired = await _policy_only(app, where, wishes)
    name = pipeline.inventory_name(desired, wishes)
    if consent.confirm is None:
        require_terminal(f"confirm with --confirm {name}")
    async with app.desk() as desk:
        planned = await pipeline.make_destroy_plan(desk, desired, wishes)
        _show_to_confirm(planned.plan)
        if planned.plan.effective:
            await _type_name(name, consent.confirm)
        return await _carry_out(desk, planned, wishes, confirmed=True)


async def validate(where: Location, wishes: Wishes, online: bool, verbose: int) -> Checked:
    """Check the manifests."""
    app = begin(verbose)
    try:
        desired = await _desired(app, where, wishes, offline=not online)
        server, found = None, desired.warnings
        if online:
            from reconciler.app.preflight import preflight

            async with app.desk() as desk:
                server = str(desk.api.facts)
                await pipeline.make_plan(desk, desired, wishes)
                found += await preflight(app, desk.api, desired)
    except InvalidManifests as error:
        return Checked(error.problems)
    return Checked(found, len(desired.declarations), len(desired.files), server)


async def forget(where: Location, wishes: Wishes, key: str, verbose: int) -> None:
    """Drop a key from the inventory."""
    app = begin(verbose)
    parsed = _key(key)
    desired = await _policy_only(app, where, wishes)
    async with app.desk() as desk:
        await pipeline.forget(desk, desired, wishes, parsed)


def _key(text: str) -> Key:
    try:
        return Key.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


async def unlock(where: Location, wishes: Wishes, verbose: int) -> str | None:
    """Free a dead holder's lease; return who held it."""
    app = begin(verbose)
    desired = await _policy_only(app, where, wishes)
    async with app.desk() as desk:
        return await pipeline.unlock(desk, desired, wishes)


async def _carry_out(
    desk: pipeline.Desk, planned: Planned, wishes: Wishes, *, confirmed: bool
) -> Report:
    from reconciler.cli.progress import progress_bar

    with progress_bar(len(planned.plan.effective)) as progress:
        return await pipeline.carry_out(
            desk, planned, wishes, progress=progress, confirmed=confirmed
        )


async def _desired(
    app: App, where: Location, wishes: Wishes, *, offline: bool = False
) -> DesiredState:
    options = await app.load_options(where, wishes, offline=offline)
    snapshot = await app.source(where).fetch()
    return await anyio.to_thread.run_sync(pipeline.read, snapshot, options, KINDS)


async def _policy_only(app: App, where: Location, wishes: Wishes) -> DesiredState:
    """Read `reconciler.yaml` alone: what these commands do must work with broken manifests."""
    options = await app.load_options(where, wishes)
    snapshot = await app.source(where).fetch()
    return await anyio.to_thread.run_sync(pipeline.read_policy_only, snapshot, options)


def _show_to_confirm(plan: Plan) -> None:
    console.show(console.err(), render(plan, Format.TEXT))


async def _ask(question: str) -> None:
    if (await ask(f"\n[bold]{question}[/] Only 'yes' is a yes: ")).lower() != "yes":
        raise Refused("declined; nothing was changed")


async def _type_name(name: str, typed: str | None) -> None:
    if typed is None:
        question = (
            f"\n[bold red]This can't be undone.[/] Type [bold]{name}[/] to delete all of it: "
        )
        typed = await ask(question)
    if typed.strip() != name:
        raise Refused(
            "the name does not match; nothing was deleted", hint=f"the inventory is called {name}"
        )


def show(plan: Plan, form: PlanFormat) -> None:
    """Show a plan on stdout."""
    _show(plan, form)


def show_all(plans: Sequence[Plan], form: PlanFormat) -> None:
    """Show plans, of several environments, on stdout; as JSON several are a list."""
    if form is PlanFormat.json and len(plans) > 1:
        found = [plan.to_json() for plan in plans]
        console.write(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for number, plan in enumerate(plans):
        if number and form is PlanFormat.text:
            console.out().print()
        _show(plan, form)


def finish_apply(report: Report, form: PlanFormat, *, detailed: bool) -> int:
    """Show a report on stdout and return the exit code. Failure wins over difference."""
    _show(report, form)
    if not report.converged:
        return FAILED
    return DIFFERENT if detailed and not report.plan.empty else DONE


def _show(subject: Plan | Report, form: PlanFormat) -> None:
    text = render(subject, Format(form.value))
    if form is PlanFormat.text:
        console.show(console.out(), text)
    else:
        console.write(text)


def show_problems(checked: Checked, form: str) -> None:
    """Show the result of a validation on stdout."""
    if form == "json":
        problems = [_problem_json(p) for p in checked.problems]
        console.write(
            json.dumps(
                {"valid": checked.valid, "resources": checked.resources, "problems": problems},
                indent=2,
            )
        )
    elif form == "github":
        console.write(
            "".join(_github(p) for p in checked.problems) or "::notice::all manifests are valid"
        )
    else:
        for problem in checked.problems:
            console.out().print(console.problem_line(problem))
        console.out().print(_verdict(checked))


def _verdict(checked: Checked) -> str:
    if not checked.valid:
        errors = sum(p.severity is Severity.ERROR for p in checked.problems)
        return f"[bold red]✗[/] {counted(errors, 'problem')}. Nothing of this revision would be applied."
    where = f" and fits {checked.server}" if checked.server else ""
    resources, files = counted(checked.resources, "resource"), counted(checked.files, "file")
    return f"[bold green]✓[/] {resources} in {files}: all is valid{where}."


def _problem_json(problem: Problem) -> dict[str, Any]:
    return {
        "severity": problem.severity.value,
        "file": problem.place.file,
        "line": problem.place.line,
        "column": problem.place.column,
        "message": problem.message,
        "hint": problem.hint,
    }


def _github(problem: Problem) -> str:
    """Write a workflow command; `%`, line ends and in properties `:` and `,` are escaped."""

    def data(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    file = data(problem.place.file).replace(":", "%3A").replace(",", "%2C")
    level = "error" if problem.severity is Severity.ERROR else "warning"
    text = problem.message + (f" ({problem.hint})" if problem.hint else "")
    return f"::{level} file={file},line={problem.place.line},col={problem.place.column}::{data(text)}\n"
