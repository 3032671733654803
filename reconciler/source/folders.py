"""Folders of our own."""

from pathlib import Path


def state_folder(path: Path) -> None:
    """Make a folder for this user alone: it holds what a private repository holds.

    git ignores it, should the state directory lie inside a work tree.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark = path / ".gitignore"
    if not mark.is_file():
        mark.write_text("*\n")
