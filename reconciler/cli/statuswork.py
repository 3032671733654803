"""What `reconciler status` does."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape

from reconciler import outgoing
from reconciler.app import App
from reconciler.cli import console
from reconciler.cli.begin import begin
from reconciler.cli.exits import DIFFERENT, DONE, FAILED
from reconciler.cli.render.words import harmless
from reconciler.errors import NotFound, Unreachable, UsageError

Json = dict[str, Any]

_SHOWN = 20
_COLOURS = {"drifted": "yellow", "out_of_sync": "yellow", "failed": "red", "held": "magenta"}
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


async def status(url: str | None, verbose: int) -> Json:
    """Ask a service.

    Returns:
        Its status, as the API has it, with the resources that are not in sync under `troubled`.

    Raises:
        ReconcilerError: it does not answer, or is none.
    """
    app = begin(verbose)
    base = _address(app, url)
    token = app.settings.web.token
    headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
    async with outgoing.client() as http:
        service = outgoing.Correspondent(http, f"the service at {base}", lambda: headers)
        try:
            found: Json = await service.ask("GET", f"{base}/api/v1/status")
            resources: list[Json] = await service.ask("GET", f"{base}/api/v1/resources")
        except Unreachable as error:
            raise Unreachable(
                error.message, hint="is `reconciler serve` running? Name its address with --url"
            ) from None
        except NotFound:
            raise UsageError(f"at {base} is no service of ours", hint="see --url") from None
    return {**found, "troubled": [one for one in resources if one["state"] != "in_sync"]}


def exit_code(found: Json) -> int:
    """Return 1 for trouble, 2 for resources that are not in sync, else 0."""
    source = found["source"] or {}
    if found["error"] or source.get("error"):
        return FAILED
    return DIFFERENT if found["troubled"] else DONE


def show(found: Json, *, as_json: bool) -> None:
    """Write it to stdout."""
    if as_json:
        console.write(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        console.out().print(harmless("\n".join(lines(found, datetime.now(UTC)))))


def lines(found: Json, now: datetime) -> Iterator[str]:
    """Yield the lines for people, with markup."""
    yield f"[bold]{escape(found['inventory'] or 'a service')}[/] on {escape(found['prefect'] or '(no Prefect API yet)')}"
    source, agent = found["source"], found["agent"]
    if source is not None:
        ref = f", {escape(source['ref'])}" if source["ref"] else ""
        yield f"  repository  {escape(source['location'])}{ref}, asked {_ago(source['fetched_at'], now)}"
        yield f"  revision    {(found['revision'] or 'none yet')[:12]}"
        yield f"  reconciled  {_ago(found['turned_at'], now)}, converged {_ago(found['converged_at'], now)}"
        counts = [
            f"[{_COLOURS.get(name, 'green')}]{count} {name.replace('_', ' ')}[/]"
            for name, count in found["resources"].items()
            if count
        ]
        yield f"  resources   {', '.join(counts) or 'none'}"
    if agent is not None:
        limit = "" if agent["limit"] is None else f" of {agent['limit']}"
        yield f"  agent       {escape(agent['name'])} at {escape(agent['pool'])}: {agent['active']}{limit} flow runs"
    yield from _trouble(found)
    for one in found["troubled"][:_SHOWN]:
        colour = _COLOURS.get(one["state"], "yellow")
        place = f"  [dim]{escape(one['source'])}[/]" if one["source"] else ""
        yield f"[{colour}]! {escape(one['key'])}[/]  {one['state'].replace('_', ' ')}: {escape(one['reason'])}{place}"
    if len(found["troubled"]) > _SHOWN:
        yield f"[dim]… and {len(found['troubled']) - _SHOWN} more[/]"


def _trouble(found: Json) -> Iterator[str]:
    if found["suspended"]:
        yield "[magenta]! suspended:[/] differences are shown, nothing is written"
    source = found["source"] or {}
    for where in (source, found):
        if where.get("error"):
            hint = f" [dim]({escape(where['hint'])})[/]" if where.get("hint") else ""
            yield f"[red]! {escape(where['error'])}[/]{hint}"
    for problem in found["problems"][:_SHOWN]:
        yield f"    [bold]{escape(problem['place'])}:[/] {escape(problem['message'])}"


def _address(app: App, url: str | None) -> str:
    web = app.settings.web
    if url or web.url:
        chosen = url or web.url or ""
        if not chosen.startswith(("http://", "https://")):
            raise UsageError(f"{chosen!r} is no http or https address")
        return chosen.rstrip("/")
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where it listens
    host = everywhere.get(web.host, web.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{web.port}"


def _ago(moment: str | None, now: datetime) -> str:
    if moment is None:
        return "never"
    seconds = max(0.0, (now - datetime.fromisoformat(moment)).total_seconds())
    size, unit = next((u for u in _UNITS if seconds >= u[0]), (1, "s"))
    return f"{seconds / size:.0f} {unit} ago"
