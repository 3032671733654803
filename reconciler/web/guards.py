"""What requests must bring: leave to read, leave to act, and the backend that they ask."""

from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import Depends, HTTPException, Request

from reconciler.web.access import CSRF_FIELD, CSRF_HEADER, Access, User
from reconciler.web.backend import Backend
from reconciler.web.bodies import read_body

_MOST_FORM_BYTES = 16_384


def backend_of(request: Request) -> Backend:
    """Return the service behind the app."""
    found: Backend = request.app.state.backend
    return found


def access_of(request: Request) -> Access:
    """Return what tells who asks."""
    found: Access = request.app.state.access
    return found


def visitor(request: Request) -> User | None:
    """Let those read who may, and return who they are.

    Raises:
        HTTPException: 401 where nothing is shown to those who haven't signed in.
    """
    access = access_of(request)
    user = access.user(request)
    if user is None and access.private:
        raise HTTPException(401, "sign in first", {"WWW-Authenticate": "Bearer"})
    return user


async def actor(request: Request) -> User:
    """Let those act who signed in and come from a page of ours.

    Raises:
        HTTPException: 401 or 403.
    """
    access = access_of(request)
    user = access.user(request)
    if user is None:
        raise HTTPException(401, "sign in first", {"WWW-Authenticate": "Bearer"})
    given = request.headers.get(CSRF_HEADER)
    if user.csrf is not None and given is None:
        given = (await form(request)).get(CSRF_FIELD)
    if not access.proves(user, given) or not _same_origin(request):
        raise HTTPException(403, "this did not come from a page of this service: load it again")
    return user


async def form(request: Request) -> dict[str, str]:
    """Read a small form, once for all who ask; of a name that is given twice the first."""
    known: dict[str, str] | None = getattr(request.state, "form", None)
    if known is not None:
        return known
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        return {}
    body = await read_body(request, _MOST_FORM_BYTES)
    fields = parse_qs(body.decode("utf-8", errors="replace"), keep_blank_values=True)
    request.state.form = read = {name: values[0] for name, values in fields.items()}
    return read


def _same_origin(request: Request) -> bool:
    """Tell whether a browser says that the page was ours; what is no browser says nothing."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


BackendOf = Annotated[Backend, Depends(backend_of)]
Visitor = Annotated[User | None, Depends(visitor)]
Actor = Annotated[User, Depends(actor)]
