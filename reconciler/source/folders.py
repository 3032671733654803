"""Folders of our own."""

from pathlib import Path


def state_folder(path: Path) -> None:
    """Make a folder that git ignores, should the state directory lie inside a work tree."""
    path.mkdir(parents=True, exist_ok=True)
    mark = path / ".gitignore"
    if not mark.is_file():
        mark.write_text("*\n")
