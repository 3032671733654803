"""How each command begins: settings, and logs."""

from logging import Handler

from reconciler.app import App
from reconciler.telemetry import late


def begin(verbose: int) -> App:
    """Read the settings and set up logging."""
    app = App.from_environment()
    service = app.settings.service
    level = (
        {0: "warning", 1: "info"}.get(verbose, "debug")
        if service.log_level == "info"
        else service.log_level
    )

    def set_up() -> Handler:
        from reconciler.telemetry import logs

        return logs.handler(level, service.log_format, colours=not service.no_color)

    late.configure(level, set_up)
    return app
