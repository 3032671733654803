"""What `reconciler serve` does."""

from collections.abc import Mapping
from dataclasses import replace

import anyio

from reconciler.app import App
from reconciler.app.service import Halves, service
from reconciler.app.servicelog import log
from reconciler.cli.exits import DONE
from reconciler.cli.upwork import stop_on_signal
from reconciler.errors import UsageError
from reconciler.model.wishes import Location, Wishes
from reconciler.settings import Settings, SourceSettings, WebSettings
from reconciler.telemetry import logs
from reconciler.web.server import address_of

_LOCK_SHARE = 1.5
"""How long to wait for another writer, as a share of a lease's time: one that died is outlasted."""


def prepared(
    given: Mapping[str, str | None], listen: str | None, halves: Halves, verbose: int
) -> App:
    """Return the app with what the command line says put over the settings, logs set up.

    Raises:
        UsageError: something is missing or wrong.
    """
    app = App.from_environment()
    settings = _merged(app.settings, given, listen)
    if settings.source.repo is None:
        raise UsageError(
            "there is no repository to follow",
            hint="give --repo URL, or set RECONCILER_REPO",
        )
    if not (halves.reconcile or halves.agent):
        raise UsageError("--no-agent and --no-reconcile together leave nothing to do")
    if settings.connection.api_url is None:
        raise UsageError(
            "no Prefect API is configured",
            hint="set PREFECT_API_URL, for example http://127.0.0.1:4200/api",
        )
    own = settings.service
    level = "debug" if verbose > 1 else own.log_level
    logs.configure(level, own.log_format, colours=not own.no_color)
    return replace(app, settings=settings)


def _merged(settings: Settings, given: Mapping[str, str | None], listen: str | None) -> Settings:
    said = {name: value for name, value in given.items() if value is not None}
    source = SourceSettings.model_validate(settings.source.model_dump() | said)
    web = settings.web
    if listen is not None:
        try:
            web = WebSettings.model_validate(web.model_dump() | {"listen": listen})
        except ValueError:
            raise UsageError(
                f"--listen: {listen!r} is no address with a port", hint="for example 127.0.0.1:8383"
            ) from None
    return settings.model_copy(update={"source": source, "web": web})


async def serve(app: App, halves: Halves, take_over: bool) -> int:
    """Run the service until it is told to stop; return the exit code."""
    settings = app.settings.source
    where = Location(path=settings.path, repo=settings.repo, ref=settings.ref)
    patience = app.settings.service.lease_seconds * _LOCK_SHARE
    wishes = Wishes(environment=settings.env, take_over=take_over, lock_timeout=patience)
    stop = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(stop_on_signal, stop, group.cancel_scope, _tell_stopping)
        async with service(app, where, wishes, halves) as running:
            log.info("serving", pages=address_of(running.listening), repo=running.shown)
            await running.run(stop)
        group.cancel_scope.cancel()
    log.info("stopped")
    return DONE


def _tell_stopping() -> None:
    log.info("stopping: a turn under way ends, and flow runs get time to; again to stop at once")
