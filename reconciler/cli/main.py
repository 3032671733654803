"""The command `reconciler`: its commands, and what their ends mean as an exit code.

Commands import what they need when they are called, so that `--help` stays quick.
"""

from collections.abc import Sequence

import typer

from reconciler.cli import (
    agent,
    apply,
    blame,
    ci,
    destroy,
    drift,
    explain,
    export,
    forget,
    generate,
    init,
    logs,
    plan,
    schema,
    serve,
    status,
    unlock,
    up,
    validate,
    version,
)
from reconciler.cli.exits import INTERRUPTED, USAGE, Finished

app = typer.Typer(
    name="reconciler",
    help="GitOps for Prefect: deployments and blocks from git, and the agent that runs them.",
    epilog="Exit codes: 0 done, 1 failed or declined, 2 differences (--detailed-exitcode), 64 wrong usage.",
    no_args_is_help=True,
    rich_markup_mode=None,  # importing rich for the help page would double its time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

for module in (
    init,
    generate,
    validate,
    plan,
    apply,
    drift,
    blame,
    ci,
    export,
    forget,
    unlock,
    destroy,
    up,
    serve,
    status,
    agent,
    logs,
    schema,
    explain,
    version,
):
    module.register(app)


def run(args: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of the process, and return the exit code."""
    try:
        app(args)
    except Finished as end:
        return end.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:
        # typer ends with 2 on wrong usage; with us 2 means 'differences exist'.
        code = end.code if isinstance(end.code, int) else 1
        return USAGE if code == 2 else code  # noqa: PLR2004
    return 0
