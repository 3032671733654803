"""Terminals: documents go to stdout, everything said beside them to stderr.

Colours and weights appear on terminals only, and never with `NO_COLOR`.
"""

import sys
from functools import cache
from itertools import islice

from rich.console import Console
from rich.markup import escape
from rich.markup import render as marked

from reconciler.cli.render import words
from reconciler.errors import InvalidManifests, ReconcilerError
from reconciler.model.problems import Problem, Severity

_AT_ONCE = 500  # lines


@cache
def out() -> Console:
    """The console of documents: plans, reports, schemas."""
    return _console(to_stderr=False)


@cache
def err() -> Console:
    """The console of everything else."""
    return _console(to_stderr=True)


def _console(*, to_stderr: bool) -> Console:
    # Without `emoji` off, rich draws `:100:` as a picture, and with it many a file:line:col.
    usual = Console(stderr=to_stderr, soft_wrap=True, highlight=False, emoji=False)
    if not usual.no_color:
        return usual
    # With NO_COLOR alone rich still writes escape codes for bold and dim.
    return Console(
        stderr=to_stderr, soft_wrap=True, highlight=False, emoji=False, color_system=None
    )


def write(text: str) -> None:
    """Write a document to stdout as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def show(console: Console, text: str) -> None:
    """Print a document with markup, of which none spans lines, some lines at a time.

    As a whole, rich takes a quarter of a gigabyte for a plan of ten thousand deployments, and
    eight seconds where it is told to draw what has no colours.
    """
    lines = iter(text.split("\n"))
    while some := list(islice(lines, _AT_ONCE)):
        part = "\n".join(some)
        if console.color_system is None:
            console.out(marked(part, emoji=False).plain, highlight=False)
        else:
            console.print(part)


def say(text: str) -> None:
    """Say something beside the document; rich markup is understood."""
    err().print(words.harmless(text))


def problem_line(problem: Problem) -> str:
    """Return one problem as a line with markup."""
    colour = "red" if problem.severity is Severity.ERROR else "yellow"
    hint = f" [dim]({escape(problem.hint)})[/]" if problem.hint else ""
    return f"[bold]{escape(str(problem.place))}:[/] [{colour}]{escape(problem.message)}[/]{hint}"


def explain(error: ReconcilerError) -> None:
    """Say an error to people: what, and what to do."""
    if isinstance(error, InvalidManifests):
        for problem in error.problems:
            say(problem_line(problem))
    say(f"[bold red]Error:[/] {escape(error.message)}")
    if error.hint:
        say(f"[dim]Hint:[/] {escape(error.hint)}")
