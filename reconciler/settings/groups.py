"""Every setting, with its variables, default and description."""

import re
import socket
import sys
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from reconciler.settings.base import Group, names, state_home
from reconciler.settings.secrets import SecretSettings
from reconciler.settings.serving import SourceSettings, WebSettings
from reconciler.settings.telling import ForgeSettings, NotifySettings

PROTECTED_HEADERS = frozenset(
    {"user-agent", "prefect-csrf-token", "prefect-csrf-client", "content-length", "content-type"}
)
"""Headers that custom headers can't replace. The first three are Prefect's own list (3.8.8: tried)."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"|[!-~]([\t -~]*[!-~])?")
"""Names and values of HTTP headers (RFC 9110, 5.6.2 and 5.5), ASCII alone."""


class ConnectionSettings(Group):
    """How to reach the Prefect API."""

    api_url: str | None = Field(
        None,
        validation_alias=names("RECONCILER_API_URL", "PREFECT_API_URL"),
        description="Address of the Prefect API, for example http://127.0.0.1:4200/api.",
    )
    api_key: SecretStr | None = Field(
        None,
        validation_alias=names("RECONCILER_API_KEY", "PREFECT_API_KEY"),
        description="API key, sent as a bearer token (Prefect Cloud).",
    )
    auth_string: SecretStr | None = Field(
        None,
        validation_alias=names("RECONCILER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"),
        description="user:password for basic authentication; wins over the API key.",
    )
    custom_headers: dict[str, SecretStr] = Field(
        {},
        validation_alias=names("RECONCILER_API_HEADERS", "PREFECT_CLIENT_CUSTOM_HEADERS"),
        description="More headers for each request to the API, as a JSON object.",
    )
    tls_insecure: bool = Field(
        default=False,
        validation_alias=names(
            "RECONCILER_API_TLS_INSECURE", "PREFECT_API_TLS_INSECURE_SKIP_VERIFY"
        ),
        description="Do not check the server's certificate.",
    )
    ca_file: Path | None = Field(
        None,
        validation_alias=names(
            "RECONCILER_API_CA_FILE", "PREFECT_API_SSL_CERT_FILE", "SSL_CERT_FILE"
        ),
        description="File with the certificate authorities to trust, in PEM form.",
    )
    timeout_seconds: float = Field(
        60.0,
        gt=0,
        validation_alias=names("RECONCILER_API_TIMEOUT_SECONDS", "PREFECT_API_REQUEST_TIMEOUT"),
        description="How long one attempt of a request may take.",
    )
    deadline_seconds: float = Field(
        120.0,
        gt=0,
        validation_alias=names("RECONCILER_API_DEADLINE_SECONDS"),
        description="How long a request is repeated before it counts as failed.",
    )
    csrf: bool = Field(
        default=True,
        validation_alias=names("RECONCILER_API_CSRF", "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"),
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
        if parts.port == 0:  # asking for a port beyond 65535 raises a ValueError that says so
            raise ValueError("port 0 can't be connected to")
        return urlunsplit(parts._replace(query="", fragment="")).rstrip("/")

    @field_validator("api_key")
    @classmethod
    def _sendable_key(cls, value: SecretStr | None) -> SecretStr | None:
        """Take the line end away that copying brings along; headers hold plain characters only."""
        if value is None:
            return None
        key = value.get_secret_value().strip()
        if not _HEADER_VALUE.fullmatch(key):
            raise ValueError("holds characters that no API key has: line ends, or other than ASCII")
        return SecretStr(key)

    @field_validator("custom_headers")
    @classmethod
    def _sendable_headers(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, content in value.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a header")
            if not _HEADER_VALUE.fullmatch(content.get_secret_value()):
                raise ValueError(f"the value of {name} holds line ends, or other than ASCII")
        return value

    @classmethod
    def to(cls, url: str, **more: Any) -> Self:
        """Make settings for an address, with nothing from the environment."""
        return cls.model_validate({"api_url": url, **more})


class AgentSettings(Group):
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
    warm_start: bool = Field(
        default=True,
        description="Whether local flow runs are forked from a process that has imported Prefect "
        "once for all of one environment. A custom command is always started cold.",
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
    match: tuple[str, ...] = Field(
        (), description="Prefixes of names of work queues to serve, as a JSON list."
    )
    limit: int | None = Field(None, ge=1, description="Most flow runs at a time.")
    poll_seconds: float = Field(
        2.0,
        gt=0,
        description="Longest time between two looks for due flow runs; less while there is work.",
    )
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
        default_factory=lambda: state_home({}) / "agent",
        description="Folder for logs, run folders and marks; by default below the service's.",
    )


class PlatformSettings(Group):
    """Where the platforms of flow runs are; what is left out is looked up as their own clients do."""

    docker_host: str | None = Field(
        None,
        validation_alias=names("RECONCILER_DOCKER_HOST", "DOCKER_HOST"),
        description="Address of the Docker engine, for example unix:///var/run/docker.sock.",
    )
    docker_cert_path: Path | None = Field(
        None,
        validation_alias=names("RECONCILER_DOCKER_CERT_PATH", "DOCKER_CERT_PATH"),
        description="Folder with ca.pem, cert.pem and key.pem for a Docker engine behind TLS.",
    )
    kubeconfig: str | None = Field(
        None,
        validation_alias=names("RECONCILER_KUBECONFIG", "KUBECONFIG"),
        description="Kubeconfig for blocks without cluster_config, outside of a cluster.",
    )
    kubernetes_cluster_uid: str | None = Field(
        None,
        validation_alias=names(
            "RECONCILER_KUBERNETES_CLUSTER_UID", "PREFECT_KUBERNETES_CLUSTER_UID"
        ),
        description="Identity of the cluster, where its kube-system namespace can't be read.",
    )
    cloud_run_endpoint: str | None = Field(
        None,
        validation_alias=names("RECONCILER_CLOUD_RUN_ENDPOINT"),
        description="Address of the Cloud Run API, for private endpoints.",
    )
    cloud_logging_endpoint: str | None = Field(
        None,
        validation_alias=names("RECONCILER_CLOUD_LOGGING_ENDPOINT"),
        description="Address of the Cloud Logging API, for private endpoints.",
    )
    azure_authority: str | None = Field(
        None,
        validation_alias=names("RECONCILER_AZURE_AUTHORITY", "AZURE_AUTHORITY_HOST"),
        description="Address that issues Azure tokens, for sovereign clouds.",
    )
    azure_endpoint: str | None = Field(
        None,
        validation_alias=names("RECONCILER_AZURE_ENDPOINT"),
        description="Address of Azure's resource manager, for sovereign clouds.",
    )
    ca_file: Path | None = Field(
        None,
        validation_alias=names("RECONCILER_PLATFORM_CA_FILE"),
        description="File with the certificate authorities to trust at the platforms, in PEM form.",
    )


class ServiceSettings(Group):
    """The process itself."""

    model_config = SettingsConfigDict(env_prefix="RECONCILER_")

    state_dir: Path = Field(
        default_factory=lambda: state_home({}),
        description="Folder for caches, checkouts and logs.",
    )
    lease_seconds: float = Field(
        120.0,
        ge=5,
        description="After how long without a sign of life a writer counts as dead; the Prefect"
        " server must never stand still for two thirds of it.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least important messages to log."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: for people on a terminal, JSON otherwise."
    )

    no_color: bool = Field(
        default=False,
        validation_alias=names("NO_COLOR"),
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


class Settings(Group):
    """All settings."""

    connection: ConnectionSettings = Field(default_factory=ConnectionSettings)
    agent: AgentSettings = Field(default_factory=AgentSettings)
    platforms: PlatformSettings = Field(default_factory=PlatformSettings)
    source: SourceSettings = Field(default_factory=SourceSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    forge: ForgeSettings = Field(default_factory=ForgeSettings)
    notify: NotifySettings = Field(default_factory=NotifySettings)
    secrets: SecretSettings = Field(default_factory=SecretSettings)
    service: ServiceSettings = Field(default_factory=ServiceSettings)
