"""What `reconciler blame` does."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
from rich.markup import escape

from reconciler.app import App
from reconciler.cli import console
from reconciler.cli.begin import begin
from reconciler.cli.render.words import harmless
from reconciler.controller import pipeline
from reconciler.errors import UsageError
from reconciler.kinds import KINDS
from reconciler.model.desired import Declaration, DesiredState
from reconciler.model.keys import Key
from reconciler.model.near import did_you_mean
from reconciler.model.plan import Cause
from reconciler.model.wishes import Location, Wishes
from reconciler.source.git import WorkTree, Written


@dataclass(frozen=True, slots=True)
class Line:
    """One field of a resource.

    Attributes:
        path: of the field; "" for the document.
        place: file:line:col that declares it.
        written: who wrote that line last; None where git doesn't know.
        drifted: it was changed in the API.
    """

    path: str
    place: str
    written: Written | None
    drifted: bool = False


async def blame(where: Location, wishes: Wishes, text: str, verbose: int) -> list[Line]:
    """Find out who declared what.

    Raises:
        UsageError: the key is none, or nothing declares it.
    """
    app = begin(verbose)
    options = await app.load_options(where, wishes)
    source = app.source(where)
    snapshot = await source.fetch()
    desired = await anyio.to_thread.run_sync(pipeline.read, snapshot, options, KINDS)
    declaration = _declared(desired, text)
    files = {one.file for one in (declaration.place, *declaration.places.values())}
    lines = {file: await _lines(app, where, snapshot.commit, file) for file in files}
    drifted = await _drifted(app, desired, wishes, declaration.key)
    return list(_all(declaration, lines, drifted))


def show(lines: list[Line], *, as_json: bool) -> None:
    """Write it to stdout."""
    if as_json:
        console.write(json.dumps([_json(line) for line in lines], indent=2, ensure_ascii=False))
        return
    width = max((len(line.path) for line in lines), default=0)
    for line in lines:
        name = escape((line.path or "(document)").ljust(max(width, 10)))
        console.out().print(harmless(f"[bold]{name}[/]  {_said(line)}"))


def _said(line: Line) -> str:
    place = f"[dim]{escape(line.place)}[/]"
    drift = "[red]changed in the API[/]; " if line.drifted else ""
    written = line.written
    if written is None:
        return f"{drift}{place}"
    if written.commit is None:
        return f"{drift}[yellow]not committed yet[/]  {place}"
    when = f"{written.when:%Y-%m-%d}" if written.when else ""
    who = f"{written.commit[:10]}  {when}  {written.author}"
    return f"{drift}{escape(who)}  {place}  [dim]{escape(written.summary)}[/]"


def _json(line: Line) -> dict[str, Any]:
    written = line.written
    return {
        "path": line.path,
        "source": line.place,
        "changed_in_api": line.drifted,
        "commit": None if written is None else written.commit,
        "author": None if written is None else written.author,
        "when": None if written is None or written.when is None else written.when.isoformat(),
        "summary": None if written is None else written.summary,
    }


def _declared(desired: DesiredState, text: str) -> Declaration:
    try:
        key = Key.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
    found = desired.declarations.get(key)
    if found is None:
        known = map(str, desired.declarations)
        raise UsageError(f"nothing declares {key}", hint=did_you_mean(str(key), known))
    return found


async def _lines(app: App, where: Location, commit: str | None, file: str) -> dict[int, Written]:
    if where.repo is not None:
        return await app.git_source(where).blame(commit or "HEAD", file)
    return await anyio.to_thread.run_sync(_on_disk, where.path, file)


def _on_disk(directory: str, file: str) -> dict[int, Written]:
    tree = WorkTree.around(Path(directory).resolve())
    return {} if tree is None else tree.blame(file)


async def _drifted(app: App, desired: DesiredState, wishes: Wishes, key: Key) -> frozenset[str]:
    if app.settings.connection.api_url is None:
        return frozenset()
    async with app.desk() as desk:
        plan = (await pipeline.make_plan(desk, desired, wishes)).plan
    causes = (Cause.DRIFT, Cause.BOTH)
    change = next((one for one in plan.changes if one.key == key), None)
    fields = change.fields if change else ()
    return frozenset(field.path for field in fields if field.cause in causes)


def _all(
    declaration: Declaration, lines: dict[str, dict[int, Written]], drifted: frozenset[str]
) -> Iterator[Line]:
    """Yield the document and its managed fields by their place; what only the API has comes last."""
    managed = tuple(declaration.fields)
    places = {"": declaration.place, **declaration.places}
    told = [p for p in places if not p or p.partition(".")[0].partition("[")[0] in managed]
    for path in sorted(told, key=lambda one: (places[one].file, places[one].line, one)):
        place = places[path]
        written = lines.get(place.file, {}).get(place.line)
        yield Line(path, str(place), written, path in drifted)
    for path in sorted(drifted - set(told)):
        yield Line(path, str(declaration.at(path)), None, drifted=True)
