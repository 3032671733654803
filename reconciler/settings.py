"""Settings: the one place that reads the environment.

`load()` returns them all. For each setting the first of these that has a value wins: its
`RECONCILER_*` variable (or the file that `RECONCILER_*_FILE` names), Prefect's own variable, the
active profile of Prefect's profiles file, the default.
"""

import json
import os
import socket
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from reconciler.errors import UsageError

PROTECTED_HEADERS = frozenset(
    {"user-agent", "prefect-csrf-token", "prefect-csrf-client", "content-length", "content-type"}
)
"""Headers that custom headers can't replace. The first three are Prefect's own list (3.8.8: tried)."""


class _Group(BaseSettings):
    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        populate_by_name=True,
        validate_default=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments only: the environment comes in by `load`, never behind our back."""
        return (init_settings,)


def _names(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class ConnectionSettings(_Group):
    """How to reach the Prefect API."""

    api_url: str | None = Field(
        None,
        validation_alias=_names("RECONCILER_API_URL", "PREFECT_API_URL"),
        description="Address of the Prefect API, for example http://127.0.0.1:4200/api.",
    )
    api_key: SecretStr | None = Field(
        None,
        validation_alias=_names("RECONCILER_API_KEY", "PREFECT_API_KEY"),
        description="API key, sent as a bearer token (Prefect Cloud).",
    )
    auth_string: SecretStr | None = Field(
        None,
        validation_alias=_names("RECONCILER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"),
        description="user:password for basic authentication; wins over the API key.",
    )
    custom_headers: dict[str, SecretStr] = Field(
        {},
        validation_alias=_names("RECONCILER_API_HEADERS", "PREFECT_CLIENT_CUSTOM_HEADERS"),
        description="More headers for each request to the API, as a JSON object.",
    )
    tls_insecure: bool = Field(
        default=False,
        validation_alias=_names(
            "RECONCILER_API_TLS_INSECURE", "PREFECT_API_TLS_INSECURE_SKIP_VERIFY"
        ),
        description="Do not check the server's certificate.",
    )
    ca_file: Path | None = Field(
        None,
        validation_alias=_names(
            "RECONCILER_API_CA_FILE", "PREFECT_API_SSL_CERT_FILE", "SSL_CERT_FILE"
        ),
        description="File with the certificate authorities to trust, in PEM form.",
    )
    timeout_seconds: float = Field(
        60.0,
        gt=0,
        validation_alias=_names("RECONCILER_API_TIMEOUT_SECONDS", "PREFECT_API_REQUEST_TIMEOUT"),
        description="How long one attempt of a request may take.",
    )
    deadline_seconds: float = Field(
        120.0,
        gt=0,
        validation_alias=_names("RECONCILER_API_DEADLINE_SECONDS"),
        description="How long a request is repeated before it counts as failed.",
    )
    csrf: bool = Field(
        default=True,
        validation_alias=_names("RECONCILER_API_CSRF", "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"),
        description="Answer the server's demand for a CSRF token.",
    )

    @field_validator("api_url")
    @classmethod
    def _whole_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value.strip())
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("is no http:// or https:// address")
        if "@" in parts.netloc:
            raise ValueError("holds a password; move it to RECONCILER_API_AUTH_STRING")
        return urlunsplit(parts._replace(query="", fragment="")).rstrip("/")

    @classmethod
    def to(cls, url: str, **more: Any) -> Self:
        """Make settings for an address, with nothing from the environment."""
        return cls.model_validate({"api_url": url, **more})


class AgentSettings(_Group):
    """The embedded agent."""

    model_config = SettingsConfigDict(env_prefix="RECONCILER_AGENT_")

    name: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        description="Name of this agent; it appears among the workers of its pool.",
    )
    python: str = Field(
        sys.executable, description="The Python that runs flows in local processes."
    )
    image_python_version: str = Field(
        "3.11",
        pattern=r"^3\.\d+$",
        description="Python version of the default images for flow runs in containers.",
    )
    pool: str = Field("default-agent-pool", description="The work pool that the agent serves.")
    queues: tuple[str, ...] = Field(
        (), description="Work queues to serve, as a JSON list; by default what the tree declares."
    )
    limit: int | None = Field(None, ge=1, description="Most flow runs at a time.")
    poll_seconds: float = Field(5.0, gt=0, description="Time between two looks for due flow runs.")
    prefetch_seconds: float = Field(
        15.0, ge=0, description="How far ahead scheduled flow runs are known."
    )
    heartbeat_seconds: float = Field(
        10.0, ge=1, description="Time between heartbeats; offline to the server after three."
    )
    grace_seconds: float = Field(
        30.0, ge=0, description="How long a run may take to stop before it is killed."
    )
    lost_after_seconds: float = Field(
        3600.0, gt=0, description="After this a running process of a lost host counts as crashed."
    )
    state_dir: Path = Field(
        default_factory=lambda: _state_home({}) / "agent",
        description="Folder for logs, run folders and marks; by default below the service's.",
    )


class ServiceSettings(_Group):
    """The process itself."""

    model_config = SettingsConfigDict(env_prefix="RECONCILER_")

    state_dir: Path = Field(
        default_factory=lambda: _state_home({}),
        description="Folder for caches, checkouts and logs.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least important messages to log."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: for people on a terminal, JSON otherwise."
    )

    no_color: bool = Field(
        default=False,
        validation_alias=_names("NO_COLOR"),
        description="No colours in any output; any value counts (no-color.org).",
    )

    @field_validator("no_color", mode="before")
    @classmethod
    def _any_value(cls, value: object) -> object:
        return True if isinstance(value, str) else value

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value


class Settings(_Group):
    """All settings."""

    connection: ConnectionSettings = Field(default_factory=ConnectionSettings)
    agent: AgentSettings = Field(default_factory=AgentSettings)
    service: ServiceSettings = Field(default_factory=ServiceSettings)


def process_environment() -> dict[str, str]:
    """Return a copy of this process's environment, to be handed down by the wiring."""
    return dict(os.environ)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read all settings.

    Args:
        environ: the variables; by default those of this process.

    Raises:
        UsageError: a value is wrong; the message names the variable and never the value.
    """
    variables = _with_files(process_environment() if environ is None else environ)
    service = _read(ServiceSettings, variables, state_dir=_state_home(variables))
    return Settings(
        connection=_read(ConnectionSettings, _with_profile(variables)),
        agent=_read(AgentSettings, variables, state_dir=service.state_dir / "agent"),
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


def variables_of(group: type[_Group], field: str) -> tuple[str, ...]:
    """Return the variables that a setting is read from, the winning one first."""
    alias = group.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (f"{group.model_config.get('env_prefix', '')}{field}".upper(),)


_G = TypeVar("_G", bound=_Group)


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


def _field(group: type[_Group], where: str) -> str:
    """Find the field that pydantic names, by itself or by one of its variables."""
    return next(
        field
        for field in group.model_fields
        if where == field or where.upper() in variables_of(group, field)
    )


def _description(group: type[_Group], field: str) -> str | None:
    return group.model_fields[field].description


def _state_home(variables: Mapping[str, str]) -> Path:
    home = variables.get("XDG_STATE_HOME") or f"{variables.get('HOME') or '~'}/.local/state"
    return Path(home).expanduser() / "reconciler"


_GROUPS: tuple[type[_Group], ...] = (ConnectionSettings, AgentSettings, ServiceSettings)


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
    except FileNotFoundError:
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
