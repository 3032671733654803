"""What `reconciler export` does."""

import re
from collections.abc import Iterable
from pathlib import Path

from rich.markup import escape

from reconciler.cli import console
from reconciler.cli.begin import begin
from reconciler.cli.render.words import counted
from reconciler.controller.export import Choice, Tree
from reconciler.controller.export import export as export_tree
from reconciler.errors import UsageError
from reconciler.kinds import KINDS
from reconciler.model.near import did_you_mean

_POLICY = """\
# The policy of this repository. Every setting: `reconciler schema Policy`.
name: {name}
drift: report            # heal: write git's values back when somebody changed them in the API
secrets:
  - env: RECONCILER_SECRET_
"""
_LISTED = 50


def check(kinds: Iterable[str]) -> None:
    """Refuse kinds that are none.

    Raises:
        UsageError: one is.
    """
    known = {kind.name.lower(): kind.name for kind in KINDS}
    for one in kinds:
        if one.lower() not in known:
            hint = did_you_mean(one, known.values(), what="known kinds")
            raise UsageError(f"there is no kind {one!r}", hint=hint)


async def export(kinds: tuple[str, ...], keys: tuple[str, ...], verbose: int) -> Tree:
    """Read the server."""
    app = begin(verbose)
    async with app.desk() as desk:
        return await export_tree(desk, Choice(kinds, keys))


def write(tree: Tree, out: Path, force: bool) -> None:
    """Write the files, and say what was written and what is missing.

    Raises:
        UsageError: a file is there and differs, or can't be written.
    """
    policy = out / "reconciler.yaml"
    files = {out / path: text for path, text in tree.files.items()}
    taken = [file for file, text in files.items() if not force and _differs(file, text)]
    if taken:
        raise UsageError(
            f"{taken[0]} is there and differs, as do {len(taken) - 1} more",
            hint="export into an empty folder, or write over them with --force",
        )
    if not policy.exists():
        files[policy] = _POLICY.format(name=_name(out))
    for file, text in files.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{file} can't be written: {error.strerror}") from None
    _say(tree, out)


def _differs(file: Path, text: str) -> bool:
    try:
        return file.read_text(encoding="utf-8") != text
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError):
        return True


def _name(out: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", out.resolve().name.lower()).strip("-") or "exported"


def _say(tree: Tree, out: Path) -> None:
    kinds: dict[str, int] = {}
    for key in tree.keys:
        kinds[key.kind] = kinds.get(key.kind, 0) + 1
    parts = ", ".join(counted(number, kind) for kind, number in kinds.items()) or "nothing"
    console.say(f"[green]✓[/] wrote {parts} to {escape(str(out))}")
    for note in tree.notes:
        console.say(f"[yellow]![/] {escape(note)}")
    if tree.secrets:
        console.say(f"\n{counted(len(tree.secrets), 'secret')} must be provided, for example as")
        for name, where in list(tree.secrets.items())[:_LISTED]:
            console.say(f"  RECONCILER_SECRET_{name}  [dim]{escape(where)}[/]")
        if len(tree.secrets) > _LISTED:
            console.say(f"  … and {len(tree.secrets) - _LISTED} more")
    console.say(f"\nNext: [bold]reconciler plan {escape(str(out))}[/] shows that nothing differs.")
