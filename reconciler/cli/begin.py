"""How each command begins: settings, logs, and for those that plan the server's first answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from logging import Handler
from typing import TYPE_CHECKING

import anyio.to_thread

from reconciler.runtime import memory
from reconciler.runtime.ahead import owned
from reconciler.runtime.clock import SystemClock
from reconciler.settings import ServiceSettings, load, process_environment
from reconciler.telemetry import late

if TYPE_CHECKING:
    from reconciler.app import App


def begin(verbose: int) -> "App":
    """Read the settings and set up logging."""
    from reconciler.app import App

    app = App.from_environment()
    _set_up_logs(app.settings.service, verbose)
    return app


@asynccontextmanager
async def begin_to_plan(verbose: int) -> AsyncIterator["App"]:
    """Begin, and ask the server for what each plan needs while Python imports what makes one.

    So the time that the server takes hides behind that of the imports, and the other way round. Whoever
    calls it imports `reconciler.cli.work` inside the block only.
    """
    from reconciler.api.connect import connect
    from reconciler.api.opening import Opening
    from reconciler.engine.foresee import foresee

    environ = process_environment()
    settings = load(environ)
    _set_up_logs(settings.service, verbose)
    clock = SystemClock()
    async with owned() as group:
        opening = Opening(group, connect(settings.connection, clock), foresee)
        await anyio.to_thread.run_sync(import_module, "reconciler.cli.work")
        memory.started()
        from reconciler.app import App

        yield App(settings, environ, clock, opening)


def _set_up_logs(service: ServiceSettings, verbose: int) -> None:
    level = (
        {0: "warning", 1: "info"}.get(verbose, "debug")
        if service.log_level == "info"
        else service.log_level
    )

    def set_up() -> Handler:
        from reconciler.telemetry import logs

        return logs.handler(level, service.log_format, colours=not service.no_color)

    late.configure(level, set_up)
