"""Collects the problems of one document, so that all of them are reported at once."""

from reconciler.model.desired import Document
from reconciler.model.problems import Problem, Severity

Path = tuple[str | int, ...]


class Findings:
    """Problems of a document, each at the exact place of the value concerned."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: list[Problem] = []

    def error(self, path: Path, message: str, hint: str | None = None) -> None:
        """Note what stops the revision."""
        self._found.append(Problem(self._document.at(*path), message, hint))

    def warn(self, path: Path, message: str, hint: str | None = None) -> None:
        """Note what people should know, without stopping the revision."""
        place = self._document.at(*path)
        self._found.append(Problem(place, message, hint, Severity.WARNING))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything noted so far."""
        return tuple(self._found)

    @property
    def fatal(self) -> bool:
        """Whether anything noted stops the revision."""
        return any(problem.severity is Severity.ERROR for problem in self._found)
