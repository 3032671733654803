"""Settings: the one place that reads the environment.

`load()` returns them all. For each setting the first of these that has a value wins: its
`RECONCILER_*` variable (or the file that `RECONCILER_*_FILE` names), Prefect's own variable, the
active profile of Prefect's profiles file, the default.
"""

from reconciler.settings.base import variables_of
from reconciler.settings.groups import (
    PROTECTED_HEADERS,
    AgentSettings,
    ConnectionSettings,
    PlatformSettings,
    ServiceSettings,
    Settings,
)
from reconciler.settings.jobs import CiJob, ci_job
from reconciler.settings.secrets import SecretSettings
from reconciler.settings.serving import SourceSettings, WebSettings
from reconciler.settings.sources import flow_run_environment, load, process_environment
from reconciler.settings.telling import ForgeSettings, NotifySettings

__all__ = [
    "PROTECTED_HEADERS",
    "AgentSettings",
    "CiJob",
    "ConnectionSettings",
    "ForgeSettings",
    "NotifySettings",
    "PlatformSettings",
    "SecretSettings",
    "ServiceSettings",
    "Settings",
    "SourceSettings",
    "WebSettings",
    "ci_job",
    "flow_run_environment",
    "load",
    "process_environment",
    "variables_of",
]
