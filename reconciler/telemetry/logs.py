"""Structured logs on standard error: for people on a terminal, JSON lines otherwise."""

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.typing import Processor

from reconciler.telemetry.late import Late, set_levels
from reconciler.telemetry.redaction import redact_event

Format = Literal["auto", "console", "json"]


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that configuring again replaces it and leaves others alone."""


def configure(
    level: str = "info",
    form: Format = "auto",
    *,
    stream: TextIO | None = None,
    colours: bool = True,
) -> None:
    """Send all logs, those of libraries too, to one place, redacted.

    Args:
        level: the least important level that is shown.
        form: console, json, or auto: console exactly if the stream is a terminal.
        stream: where to; standard error by default, since standard output belongs to results.
        colours: False where the user set NO_COLOR.
    """
    made = handler(level, form, stream=stream, colours=colours)
    root = logging.getLogger()
    root.handlers = [old for old in root.handlers if not isinstance(old, _Handler | Late)]
    root.addHandler(made)
    set_levels(level)


def handler(
    level: str, form: Format, *, stream: TextIO | None = None, colours: bool = True
) -> logging.Handler:
    """Have structlog log through the standard library; return what shows all of it.

    Args:
        level: as for `configure`, and so the others.
        form: of the lines.
        stream: where to.
        colours: whether a terminal gets some.
    """
    target = stream or sys.stderr
    terminal = target.isatty()
    console = form == "console" or (form == "auto" and terminal)
    made = _Handler(target)
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    made.setFormatter(_formatter(console=console, colours=colours and terminal))
    return made


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _formatter(*, console: bool, colours: bool) -> logging.Formatter:
    renderer: Processor
    if console:
        # The plain form: the pretty one prints local variables, and those hold secrets.
        renderer = structlog.dev.ConsoleRenderer(
            colors=colours, exception_formatter=structlog.dev.plain_traceback
        )
    else:
        renderer = structlog.processors.JSONRenderer()
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact_event,
            renderer,
        ],
    )
