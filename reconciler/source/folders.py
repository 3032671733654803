"""Folders of our own."""

from pathlib import Path

from reconciler.errors import SourceError


def state_folder(path: Path) -> None:
    """Make a folder for this user alone: it holds what a private repository holds.

    git ignores it, should the state directory lie inside a work tree.

    Raises:
        SourceError: the folder can't be made or written.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = path / ".gitignore"
        if not mark.is_file():
            mark.write_text("*\n")
    except OSError as error:
        raise SourceError(
            f"the folder {path} can't be made or written: {error.strerror}",
            hint="name another state directory with RECONCILER_STATE_DIR",
        ) from None
