"""Webhooks: a push to our ref of our repository has the remote asked at once.

Whatever a webhook says, that is all it can do.
"""

import json
from collections import OrderedDict
from hashlib import sha256
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, HTTPException, Path, Request

from reconciler.web.backend import Backend
from reconciler.web.bodies import read_body
from reconciler.web.guards import BackendOf
from reconciler.web.pushes import is_genuine, push_of, same_place
from reconciler.web.shapes import AcceptedShape

MOST_BYTES = 5_000_000
"""Of a body. A push of some thousand commits stays below."""
_AT_ONCE = 4
"""Bodies that are read at a time, so that many large ones don't fill the memory."""
_REMEMBERED = 1000

router = APIRouter(prefix="/hooks", tags=["webhooks"])

Forge = Annotated[
    Literal["github", "gitlab", "gitea", "bitbucket"],
    Path(description="Who sends it; `gitea` is Forgejo too."),
]


class Hooks:
    """The secret, and what came lately."""

    def __init__(self, secret: str | None) -> None:
        self.secret = secret
        self.reading = anyio.Semaphore(_AT_ONCE)
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def is_new(self, body: bytes) -> bool:
        """Tell whether a genuine body comes for the first time, as far as we remember."""
        digest = sha256(body).digest()
        if digest in self._seen:
            return False
        self._seen[digest] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return True


@router.post(
    "/{forge}",
    status_code=202,
    responses={
        400: {"description": "It is not what that forge sends."},
        401: {"description": "Its signature is not made with our secret."},
        404: {"description": "This service takes no webhooks."},
        408: {"description": "The body did not come in time."},
        413: {"description": "The body is too large."},
        429: {"description": "Too many webhooks at a time."},
    },
)
async def hook(request: Request, backend: BackendOf, forge: Forge) -> AcceptedShape:
    """Take a webhook of a git forge; it is answered at once."""
    hooks: Hooks = request.app.state.hooks
    source = backend.source
    if hooks.secret is None or source is None:
        raise HTTPException(
            404, "this service takes no webhooks: set RECONCILER_WEB_WEBHOOK_SECRET"
        )
    headers = {name.lower(): value for name, value in request.headers.items()}
    if forge == "gitlab" and not is_genuine(forge, headers, b"", hooks.secret):
        raise HTTPException(401, "the token is not ours")  # known before the body
    try:
        hooks.reading.acquire_nowait()
    except anyio.WouldBlock:
        raise HTTPException(429, "too many webhooks at a time", {"Retry-After": "5"}) from None
    try:
        body = await read_body(request, MOST_BYTES)
        if not is_genuine(forge, headers, body, hooks.secret):
            raise HTTPException(401, "the signature is not made with our secret")
        return _take(hooks, backend, forge, headers, body)
    finally:
        hooks.reading.release()


def _take(
    hooks: Hooks, backend: Backend, forge: str, headers: dict[str, str], body: bytes
) -> AcceptedShape:
    try:
        push = push_of(forge, headers, _json(body))
    except ValueError as error:
        raise HTTPException(400, str(error)) from None
    source = backend.source
    if push is None or source is None:
        return AcceptedShape(message="ignored: it tells of no push")
    ours = frozenset(map(same_place, (source.location, *backend.place.repositories)))
    if not push.is_of(ours):
        return AcceptedShape(message="ignored: it is about another repository")
    if not push.concerns(source.ref):
        return AcceptedShape(message="ignored: it moves another ref")
    if not hooks.is_new(body):
        return AcceptedShape(message="ignored: it came before")
    backend.poll()
    return AcceptedShape(message="the repository is asked now")


def _json(body: bytes) -> dict[str, Any]:
    """Read JSON, which Bitbucket and GitHub may also be set up to send as a form; that is refused.

    Raises:
        ValueError: it is no JSON object.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is no JSON: choose application/json at the forge") from None
    if not isinstance(found, dict):
        raise ValueError("the body is no JSON object")  # noqa: TRY004 - all of them are told alike
    return found
