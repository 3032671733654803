"""The wiring: settings in, working parts out. The only place that knows all of them."""

from reconciler.app.wiring import App

__all__ = ["App"]
