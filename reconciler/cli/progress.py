"""A progress bar on terminals, nothing elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.cli import console
from reconciler.engine.apply import Progress, silent
from reconciler.model.report import Outcome


@contextmanager
def progress_bar(total: int) -> Iterator[Progress]:
    """Show how far an apply is, for the time of the block."""
    if total == 0 or not console.err().is_terminal:
        yield silent
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import (
        Progress as Bar,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console.err(), transient=True) as bar:
        task = bar.add_task("Applying", total=total)

        def step(outcome: Outcome) -> None:
            bar.update(task, advance=1, description=str(outcome.change.key))

        yield step
