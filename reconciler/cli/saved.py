"""Plan files: what `plan --out` writes and `apply --plan` reads."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter
from rich.markup import escape

from reconciler.cli import console
from reconciler.errors import UsageError
from reconciler.model.wishes import Location, Wishes

if TYPE_CHECKING:
    from reconciler.model.plan import Plan


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan file: what was planned, and how to plan it again."""

    digest: str
    location: Location
    wishes: Wishes

    def merge(self, where: Location, wishes: Wishes) -> tuple[Location, Wishes]:
        """Take location and wishes of the plan; what the command line says itself comes first."""
        location = self.location if where == Location() else where
        kept = {
            name: value
            for name, value in asdict(wishes).items()
            if value != getattr(Wishes(), name)
        }
        return location, Wishes(**{**asdict(self.wishes), **kept})


_SAVED = TypeAdapter(SavedPlan)


def save(plan: "Plan", where: Location, wishes: Wishes, out: Path) -> None:
    """Write a plan file. It holds no secret value.

    Raises:
        UsageError: the file can't be written.
    """
    saved = {**plan.to_json(), "made_with": {"location": asdict(where), "wishes": asdict(wishes)}}
    try:
        out.write_text(json.dumps(saved, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the plan can't be saved to {out}: {error.strerror}") from None
    shown = escape(str(out))
    console.say(f"Saved the plan to {shown}; `reconciler apply --plan {shown}` applies it.")


def load(file: Path) -> SavedPlan:
    """Read a plan file.

    Raises:
        UsageError: it is none.
    """
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        return _SAVED.validate_python({"digest": read["digest"], **read["made_with"]})
    except OSError as error:
        raise UsageError(f"the plan {file} can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{file} is no saved plan", hint="make one with `reconciler plan --out FILE`"
        ) from None
