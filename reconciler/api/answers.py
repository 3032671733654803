"""What an answer means: JSON, or one of our errors with the server's own explanation."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from reconciler.api.calls import Call
from reconciler.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    NotFound,
    NotPrefect,
    ReconcilerError,
    Rejected,
    Unauthorised,
)

_LONGEST = 600
"""Characters of a server's explanation that are passed on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The last answer to a call.

    Attributes:
        status: the HTTP status.
        headers: by lower-case name.
        content: the body.
        lost: an earlier answer to the same call was lost, so it may have been carried out before.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = field(default=b"", repr=False)
    lost: bool = False

    @property
    def good(self) -> bool:
        """Whether it is a 2xx."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


def result(call: Call, answer: Answer) -> Any:
    """Return the JSON of an answer, None for an empty one.

    Raises:
        ReconcilerError: the answer is none of the good ones; see `reconciler.errors`.
    """
    if not answer.good:
        raise error_of(call, answer)
    if not answer.content:
        return _told(call, None)
    try:
        return _told(call, json.loads(answer.content))
    except (ValueError, RecursionError):
        raise _not_json(call, answer) from None


def _told(call: Call, value: Any) -> Any:
    """Return an answer's value. Prefect answers each question: nothing is no proof of anything."""
    if value is None and call.read:
        raise NotPrefect(f"{call}: the answer is empty", hint="what stands before the server?")
    return value


def _not_json(call: Call, answer: Answer) -> NotPrefect:
    return NotPrefect(
        f"{call}: the answer is {_content_type(answer)}, not JSON",
        hint="does the address end in /api, or does a log-in page stand before the server?",
    )


def error_of(call: Call, answer: Answer) -> ReconcilerError:
    """Turn an answer other than 2xx into the error that it means."""
    detail = explanation(answer.content, call.clean)
    said = f"{call}: {detail or _phrase(answer.status)}"
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        return _redirected(call, answer)
    match answer.status:
        case HTTPStatus.UNAUTHORIZED:
            return Unauthorised(
                f"{call}: not authorised",
                hint="set or mend PREFECT_API_KEY (Cloud) or PREFECT_API_AUTH_STRING (user:password)",
            )
        case HTTPStatus.FORBIDDEN:
            return Forbidden(said, hint=_permission_hint(detail))
        case HTTPStatus.NOT_FOUND:
            # A gateway without a server says so too, and that proves nothing of any object.
            return NotFound(said) if _is_json(answer.content) else _not_json(call, answer)
        case HTTPStatus.CONFLICT:
            return AlreadyExists(said) if call.method == "POST" else Conflict(said)
    return Rejected(f"{said} ({answer.status})", status=answer.status, detail=detail)


def explanation(content: bytes, clean: Callable[[str], str] = str) -> str:
    """Return what the server says is wrong, in one line, without the request that it quotes.

    Args:
        content: the body of its answer.
        clean: takes secrets out of a text; called before anything of it is joined or cut, since
            half a secret would not be found.

    Known forms (2.20.26 and 3.8.8: tried): `{"detail": text or list of problems}` and
    `{"exception_message": …, "exception_detail": …, "request_body": …}`.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(body, Mapping):
        return ""
    told = body.get("exception_detail") or body.get("detail") or body.get("exception_message")
    text = "; ".join(_lines(told, clean))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _lines(told: object, clean: Callable[[str], str]) -> Iterator[str]:
    if isinstance(told, str):
        yield " ".join(clean(told).split())
    elif isinstance(told, Mapping) and "msg" in told:
        where = ".".join(str(step) for step in told.get("loc", ()) if step != "body")
        said = clean(str(told["msg"]))
        yield f"{clean(where)}: {said}" if where else said
    elif isinstance(told, list):
        for item in told:
            yield from _lines(item, clean)
    elif isinstance(told, Mapping):
        for key, inner in told.items():
            yield from (f"{clean(str(key))}: {line}" for line in _lines(inner, clean))


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True


def _permission_hint(detail: str) -> str:
    if "csrf" in detail.lower():
        return "set PREFECT_CLIENT_CSRF_SUPPORT_ENABLED=true"
    return "the credentials lack a permission"


def _redirected(call: Call, answer: Answer) -> NotPrefect:
    target = urlsplit(answer.headers.get("location", ""))
    host = target.netloc.rpartition("@")[2]
    place = f"{target.scheme}://{host}{target.path}" if host else target.path
    return NotPrefect(
        f"{call}: redirected to {place or 'elsewhere'}",
        hint="use the final address; a log-in page needs credentials or custom headers",
    )


def _content_type(answer: Answer) -> str:
    return answer.headers.get("content-type", "").split(";")[0] or "of no known type"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status {status}"
