"""Every error that this program raises, classed by its consequence.

ReconcilerError
├─ UserError                 the user must mend something; retrying does not help
│   ├─ UsageError            wrong command line or settings            exit code 64
│   ├─ InvalidManifests      problems in the tree, all of them at once
│   ├─ SourceError           repository, ref or directory can't be read as given
│   ├─ NotPrefect            the address answers, but not as a Prefect API
│   ├─ Unauthorised          401: no or wrong credentials
│   ├─ Forbidden             403: the credentials lack a permission
│   ├─ Unsupported           the server is too old or lacks what is needed
│   └─ Rejected              the API refused a request as wrong (4xx)
├─ Transient                 passes by itself; `retry_after` says when
│   ├─ Unreachable           no connection
│   ├─ Overloaded            408, 429, 5xx or a broken answer, after all retries
│   ├─ AnswerLost            a create's answer was lost: look it up before repeating it
│   ├─ SourceUnavailable     the git remote does not answer; the last good state stays
│   └─ HistoryUnavailable    the state directory's database can't be used, as on a full disk
├─ Conflict                  somebody else holds or changed it
│   ├─ AlreadyExists         409 on what we meant as a create
│   ├─ LeaseHeld             another writer holds the lease
│   ├─ LeaseLost             our lease was taken in the middle: stop writing
│   ├─ StalePlan             manifests or live state moved since the plan was saved
│   ├─ StaleRevision         the followed ref moved before we came to write
│   └─ ForeignInventory      the inventory belongs to another repository or folder
├─ NotFound                  404 on an object
└─ Refused                   held back for safety; the message says how to allow it
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.problems import Problem


class ReconcilerError(Exception):
    """Root of the tree. `str()` is one sentence for people; `hint` says what to do."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(ReconcilerError):
    """Something that the user must mend."""


class UsageError(UserError):
    """Wrong command line or settings."""


class InvalidManifests(UserError):  # noqa: N818 - it reads as the sentence it is
    """The tree has problems; nothing of it is applied.

    Attributes:
        problems: every problem found, in file order.
    """

    def __init__(self, problems: "Sequence[Problem]") -> None:
        errors = sum(problem.severity == "error" for problem in problems)
        count = f"{errors} problem{'s' * (errors != 1)}"
        super().__init__(f"{count} in the manifests; nothing of this revision is applied")
        self.problems = tuple(problems)


class SourceError(UserError):
    """The repository, ref or directory can't be read as given."""


class NotPrefect(UserError):  # noqa: N818
    """The address answers, but not as a Prefect API."""


class Unauthorised(UserError):  # noqa: N818
    """401: no or wrong credentials."""


class Forbidden(UserError):  # noqa: N818
    """403: the credentials lack a permission."""


class Unsupported(UserError):  # noqa: N818
    """The server is too old, or lacks what is needed."""


class Rejected(UserError):  # noqa: N818
    """The API refused a request as wrong.

    Attributes:
        status: the HTTP status, 400 to 499.
        detail: what the server said, without secrets.
    """

    def __init__(
        self, message: str, *, status: int, detail: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.detail = detail


class Transient(ReconcilerError):  # noqa: N818
    """Passes by itself.

    Attributes:
        retry_after: seconds after which to try again, where the other side said so.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class Unreachable(Transient):
    """No connection."""


class Overloaded(Transient):
    """The server answered 408, 429, 5xx or broke off, until the deadline."""


class AnswerLost(Transient):
    """Nobody knows whether a request that must not be repeated was carried out."""


class SourceUnavailable(Transient):
    """The git remote does not answer."""


class HistoryUnavailable(Transient):
    """What was can't be written down or looked up."""


class Conflict(ReconcilerError):  # noqa: N818
    """Somebody else holds it or changed it."""


class AlreadyExists(Conflict):
    """What we meant as a create exists."""


class LeaseHeld(Conflict):
    """Another writer holds the lease."""


class LeaseLost(Conflict):
    """Our lease was taken: nothing more may be written."""


class StaleRevision(Conflict):
    """The followed ref moved before we came to write: another replica may have applied it."""


class StalePlan(Conflict):
    """Manifests or live state moved since the plan was saved."""


class ForeignInventory(Conflict):
    """The inventory belongs to another repository or folder."""


class NotFound(ReconcilerError):  # noqa: N818
    """404 on an object."""


class Refused(ReconcilerError):  # noqa: N818
    """Held back for safety."""
