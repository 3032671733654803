"""What is wrong with a tree, said so that it can be mended."""

from dataclasses import dataclass
from enum import StrEnum

from reconciler.model.places import Place


class Severity(StrEnum):
    """An error stops the revision; a warning is shown."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, order=True, slots=True)
class Problem:
    """One problem.

    Attributes:
        place: where it stands.
        message: what is wrong, without any secret value.
        hint: what to do, if there is something short to say.
        severity: whether it stops the revision.
    """

    place: Place
    message: str
    hint: str | None = None
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f" ({self.hint})" if self.hint else "")
