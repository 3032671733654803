"""What all infrastructure types share: the contract of a launcher, and small parts to keep it with."""

from reconciler.infrastructure.base.contract import (
    Launcher,
    NotLaunchable,
    NotStarted,
    Output,
    Surroundings,
    no_output,
)
from reconciler.infrastructure.base.ends import Ends

__all__ = ["Ends", "Launcher", "NotLaunchable", "NotStarted", "Output", "Surroundings", "no_output"]
