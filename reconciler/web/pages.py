"""The dashboard: pages made on the server, whole without JavaScript; scripts only keep them fresh."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as AnyHTTPException

from reconciler import __version__
from reconciler.model.keys import Key
from reconciler.model.plan import change_to_json
from reconciler.model.status import Resource, ResourceState
from reconciler.web import chart
from reconciler.web.access import COOKIE, SESSION_SECONDS, User
from reconciler.web.backend import Backend
from reconciler.web.guards import Actor, BackendOf, access_of, form

_FOLDER = Path(__file__).parent / "templates"
_WRONG_TOKEN_SECONDS = 1.0
_DAY = 24 * 3600
_MINUTE = 60
_HOUR = 3600
_RECENT = 10
_MANY = 1000

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/")
async def overview(request: Request, backend: BackendOf) -> Response:
    """Show how all stands."""
    board = backend.board
    return await _page(
        request,
        "overview.html",
        applies=await run_in_threadpool(board.history.applies, _RECENT),
        drifts=await run_in_threadpool(_open_drifts, backend),
        runs=[r for r in await run_in_threadpool(board.history.runs, _RECENT) if r.ended is None],
        troubled=[r for r in board.standing.resources if r.state is not ResourceState.IN_SYNC][
            :_RECENT
        ],
    )


@router.get("/resources")
async def resources(
    request: Request,
    backend: BackendOf,
    q: Annotated[str, Query(max_length=500)] = "",
    kind: Annotated[str, Query(max_length=100)] = "",
    state: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Show resources in a table."""
    known = backend.board.standing.resources
    found = [
        one
        for one in known
        if q.lower() in str(one.key).lower()
        and kind in {"", one.key.kind}
        and state in {"", one.state.value}
    ]
    kinds = sorted({one.key.kind for one in known})
    return await _page(
        request,
        "resources.html",
        found=found[:_MANY],
        more=max(0, len(found) - _MANY),
        known=len(known),
        kinds=kinds,
        q=q,
        kind=kind,
        state=state,
    )


@router.get("/resources/{key:path}")
async def resource(request: Request, backend: BackendOf, key: str) -> Response:
    """Show one resource."""
    found = _found(backend, key)
    history = backend.board.history
    return await _page(
        request,
        "resource.html",
        resource=found,
        change=None if found.change is None else change_to_json(found.change),
        drifts=await run_in_threadpool(lambda: history.drifts(key=key, limit=50)),
    )


@router.get("/plan")
async def plan(request: Request, backend: BackendOf) -> Response:
    """Show what differed at the last reconciliation and was not done."""
    standing = backend.board.standing
    waiting = [one for one in standing.resources if one.change is not None]
    changes = [change_to_json(one.change) for one in waiting if one.change is not None]
    return await _page(request, "plan.html", plan=standing.plan, changes=changes)


@router.get("/applies")
async def applies(
    request: Request,
    backend: BackendOf,
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> Response:
    """Show reconciliations that did something."""
    size = 50
    found = await run_in_threadpool(backend.board.history.applies, size, before)
    older = found[-1].id if len(found) == size else None
    return await _page(request, "applies.html", applies=found, older=older)


@router.get("/applies/{number}")
async def apply(request: Request, backend: BackendOf, number: int) -> Response:
    """Show one of them."""
    found = await run_in_threadpool(backend.board.history.apply, min(number, 2**53))
    if found is None:
        raise HTTPException(404, "there is no such reconciliation, or it was too long ago")
    record, report = found
    return await _page(request, "apply.html", record=record, report=report)


@router.get("/drift")
async def drift(request: Request, backend: BackendOf) -> Response:
    """Show what changed behind git's back, now and in the last weeks."""
    history = backend.board.history
    found = await run_in_threadpool(lambda: history.drifts(limit=20_000))
    now = request.app.state.clock.now()
    drawn = chart.days(found, now)
    return await _page(
        request,
        "drift.html",
        lasting=[one for one in found if one.ended is None][:_MANY],
        ended=[one for one in found if one.ended is not None][:100],
        days=drawn,
        most=max(*(day.total for day in drawn), 1),
    )


@router.get("/agent")
async def agent(request: Request, backend: BackendOf) -> Response:
    """Show the agent and its flow runs."""
    runs = await run_in_threadpool(backend.board.history.runs, 100)
    return await _page(request, "agent.html", runs=runs)


# -- signing in, acting ----------------------------------------------------------------------------


@router.get("/signin")
async def signin(request: Request) -> Response:
    """Ask for the token."""
    return _render(request, "signin.html", None, wrong=False)


@router.post("/signin")
async def signed_in(request: Request) -> Response:
    """Begin a session."""
    access = access_of(request)
    token = (await form(request)).get("token", "").strip()
    if not access.is_token(token):
        await request.app.state.clock.sleep(_WRONG_TOKEN_SECONDS)
        return _render(request, "signin.html", None, 403, wrong=True)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        COOKIE,
        access.session(),
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.app.state.secure,
    )
    return answer


@router.post("/signout")
async def signed_out(_: Actor) -> Response:
    """End a session."""
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE)
    return answer


@router.post("/actions/{name}")
async def act(request: Request, backend: BackendOf, _: Actor, name: str) -> Response:
    """Do what a button says, and show the page again."""
    if backend.source is None:
        raise HTTPException(409, "this service only runs the agent; it does not reconcile")
    if name == "reconcile":
        backend.reconcile()
    elif name in {"suspend", "resume"}:
        backend.suspend(name == "suspend")
    elif name == "heal":
        backend.heal(_found(backend, (await form(request)).get("key", "")).key)
    else:
        raise HTTPException(404, f"there is no action {name!r}")
    return RedirectResponse(_back(request), 303)


async def error_page(request: Request, error: AnyHTTPException) -> Response:
    """Show an error to people."""
    user = access_of(request).user(request)
    return _render(
        request, "error.html", user, error.status_code, code=error.status_code, text=error.detail
    )


def _back(request: Request) -> str:
    """Return the page that an action came from, never one of somebody else's."""
    parts = urlsplit(request.headers.get("referer", "/"))
    path = parts.path if parts.path.startswith("/") and not parts.path.startswith("//") else "/"
    return path + (f"?{parts.query}" if parts.query else "")


def _found(backend: Backend, text: str) -> Resource:
    try:
        key = Key.parse(text)
    except ValueError:
        raise HTTPException(404, f"{text!r} is not a key") from None
    found = next((one for one in backend.board.standing.resources if one.key == key), None)
    if found is None:
        raise HTTPException(404, f"there is no {key}: git may no longer declare it")
    return found


def _open_drifts(backend: Backend) -> Any:
    return backend.board.history.drifts(ended=False, limit=_RECENT)


async def _page(request: Request, template: str, **context: Any) -> Response:
    access = access_of(request)
    user = access.user(request)
    if user is None and access.private:
        return RedirectResponse("/signin", 303)
    return _render(request, template, user, **context)


def _render(
    request: Request, template: str, user: User | None, status: int = 200, **context: Any
) -> Response:
    state = request.app.state
    backend: Backend = state.backend
    everything = {
        "user": user,
        "can_sign_in": state.access.can_sign_in,
        "csrf": None if user is None else user.csrf,
        "acts": user is not None and user.csrf is not None and backend.source is not None,
        "here": request.url.path,
        "standing": backend.board.standing,
        "counts": backend.board.standing.counts,
        "source": backend.source,
        "agent": backend.agent,
        "place": backend.place,
        "states": [one.value for one in ResourceState],
        "version": __version__,
        "now": state.clock.now(),
        **context,
    }
    return HTMLResponse(_TEMPLATES.get_template(template).render(everything), status)


def _ago(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "never"
    seconds = max(0, round((now - moment).total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} s ago"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min ago"
    return f"{seconds // _HOUR} h ago" if seconds < 2 * _DAY else f"{seconds // _DAY} days ago"


def _value(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value, indent=2, ensure_ascii=False)


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < _MINUTE else str(timedelta(seconds=round(seconds)))


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "ago": _ago,
        "value": _value,
        "span": _span,
        "short": lambda revision: revision[:12] if revision else "—",
        "words": lambda name: name.replace("_", " "),
        "at": lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "path": lambda key: quote(str(key), safe="/"),
    }
    return made


_TEMPLATES = _environment()
