"""Where settings come from: variables, the files that they name, Prefect's profiles."""

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError

from reconciler.errors import UsageError
from reconciler.settings.base import Group, state_home, variables_of
from reconciler.settings.groups import (
    AgentSettings,
    ConnectionSettings,
    PlatformSettings,
    ServiceSettings,
    Settings,
)
from reconciler.settings.secrets import SecretSettings
from reconciler.settings.serving import SourceSettings, WebSettings
from reconciler.settings.telling import ForgeSettings, NotifySettings


def process_environment() -> dict[str, str]:
    """Return a copy of this process's environment, to be handed down by the wiring."""
    return dict(os.environ)  # noqa: TID251 - the one place


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read all settings.

    Args:
        environ: the variables; by default those of this process.

    Raises:
        UsageError: a value is wrong; the message names the variable and never the value.
    """
    variables = _with_files(process_environment() if environ is None else environ)
    service = _read(ServiceSettings, variables, state_dir=state_home(variables))
    return Settings(
        connection=_read(ConnectionSettings, _with_profile(variables)),
        agent=_read(AgentSettings, variables, state_dir=service.state_dir / "agent"),
        platforms=_read(PlatformSettings, variables),
        source=_read(SourceSettings, variables),
        web=_read(WebSettings, variables),
        forge=_read(ForgeSettings, variables),
        notify=_read(NotifySettings, variables),
        secrets=_read(SecretSettings, variables),
        service=service,
    )


_GIT_CREDENTIALS = (
    "GIT_ASKPASS",
    "GIT_PASSWORD",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_TOKEN",
    "GH_TOKEN",
    "GITHUB_TOKEN",
    "GITLAB_TOKEN",
    "CI_JOB_TOKEN",
    "SSH_ASKPASS",
    "SSH_AUTH_SOCK",
)
_WITHHELD = ("RECONCILER_", "GIT_CONFIG_", "VAULT_", *_GIT_CREDENTIALS)


def flow_run_environment(
    environ: Mapping[str, str], withheld: Iterable[str] = ()
) -> dict[str, str]:
    """Return what a local flow-run process inherits (DESIGN 7.9).

    Our own settings, git credentials and what secret providers read stay behind.

    Args:
        environ: the agent's environment.
        withheld: more prefixes of variables to keep back, those of the policy's secret providers.
    """
    prefixes = (*_WITHHELD, *(prefix for prefix in withheld if prefix))
    return {name: value for name, value in environ.items() if not name.startswith(prefixes)}


_G = TypeVar("_G", bound=Group)


def _read(group: type[_G], variables: Mapping[str, str], **defaults: object) -> _G:
    """Build a group from variables; `defaults` stand in where no variable gives a value."""
    source = EnvSettingsSource(group)
    # The source looks at the process when it is made; what counts is what we were given.
    source.env_vars = {name.lower(): value for name, value in variables.items() if value}
    try:
        return group.model_validate(defaults | source())
    except SettingsError as error:
        where, text = str(error).split('"')[1], "is no valid JSON"
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where, text = str(first["loc"][0]), first["msg"].removeprefix("Value error, ")
    field = _field(group, where)
    names = variables_of(group, field)
    name = next((name for name in names if variables.get(name)), names[0])
    raise UsageError(f"{name}: {text[:1].lower()}{text[1:]}", hint=_description(group, field))


def _field(group: type[Group], where: str) -> str:
    """Find the field that pydantic names, by itself or by one of its variables."""
    return next(
        field
        for field in group.model_fields
        if where == field or where.upper() in variables_of(group, field)
    )


def _description(group: type[Group], field: str) -> str | None:
    return group.model_fields[field].description


_GROUPS: tuple[type[Group], ...] = (
    ConnectionSettings,
    AgentSettings,
    PlatformSettings,
    SourceSettings,
    WebSettings,
    ForgeSettings,
    NotifySettings,
    SecretSettings,
    ServiceSettings,
)


def _secret_names() -> tuple[str, ...]:
    return tuple(
        name
        for group in _GROUPS
        for field, info in group.model_fields.items()
        if "SecretStr" in str(info.annotation)
        for name in variables_of(group, field)
    )


def _with_files(variables: Mapping[str, str]) -> dict[str, str]:
    """Read each secret that a `*_FILE` variable names, as container platforms mount them."""
    merged = dict(variables)
    for name in _secret_names():
        file = variables.get(f"{name}_FILE")
        if not file:
            continue
        if variables.get(name):
            raise UsageError(f"{name} and {name}_FILE are both set", hint="keep one of them")
        try:
            merged[name] = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"{name}_FILE: {file} can't be read: {reason}") from None
    return merged


def _with_profile(variables: Mapping[str, str]) -> dict[str, str]:
    """Put the active profile of Prefect below the variables.

    A profile's credentials go to the profile's own server only: with another address in the
    environment they stay behind, since they would be sent to whoever answers there.
    """
    profile = _profile(variables)
    wanted = variables.get("RECONCILER_API_URL") or variables.get("PREFECT_API_URL")
    theirs = profile.get("PREFECT_API_URL")
    if wanted and theirs and wanted.rstrip("/") != theirs.rstrip("/"):
        profile = {}
    if any(variables.get(name) for name in _credential_names()):
        profile = {n: v for n, v in profile.items() if n not in _credential_names()}
    return profile | {name: value for name, value in variables.items() if value}


def _credential_names() -> tuple[str, ...]:
    return (
        *variables_of(ConnectionSettings, "api_key"),
        *variables_of(ConnectionSettings, "auth_string"),
    )


def _profile(variables: Mapping[str, str]) -> dict[str, str]:
    """Read the active profile (Prefect 2.20.26 and 3.8.8 write one format: their source).

    Raises:
        UsageError: the file can't be read, or PREFECT_PROFILE names none in it.
    """
    home = variables.get("PREFECT_HOME") or f"{variables.get('HOME') or '~'}/.prefect"
    path = Path(variables.get("PREFECT_PROFILES_PATH") or f"{home}/profiles.toml").expanduser()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Prefect's profiles file {path} can't be read: {error}",
            hint="mend it, or name another with PREFECT_PROFILES_PATH",
        ) from None
    profiles: dict[str, Any] = content.get("profiles", {})
    named = variables.get("PREFECT_PROFILE")
    if named and named not in profiles:
        raise UsageError(
            f"PREFECT_PROFILE: there is no profile {named!r} in {path}",
            hint=f"known: {', '.join(sorted(profiles)) or 'none'}",
        )
    active = profiles.get(named or content.get("active", ""), {})
    return {name.upper(): _text(value) for name, value in active.items()}


def _text(value: object) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value)
    return str(value)
