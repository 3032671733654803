"""Settings of `reconciler serve`: what it follows, and what it serves."""

from ipaddress import ip_network
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from reconciler.settings.base import Group

_LAST_PORT = 65535


class SourceSettings(Group):
    """What `reconciler serve` follows."""

    model_config = SettingsConfigDict(env_prefix="RECONCILER_")

    repo: str | None = Field(
        None, description="The git repository to follow: https, ssh or file URL, or a local path."
    )
    ref: str | None = Field(
        None, description="Branch, tag or commit to follow; by default the remote's HEAD."
    )
    path: str = Field("", description="Folder inside the repository that holds the manifests.")
    env: str | None = Field(None, description="Environment of reconciler.yaml to use.")
    poll_seconds: float = Field(
        60.0, gt=0, description="Time between two questions to the remote what the ref points to."
    )
    drift_seconds: float = Field(
        300.0,
        gt=0,
        description="Time between two looks at everything, for drift; a push in between is looked at by what it touches.",
    )
    git_username: str = Field(
        "git", min_length=1, description="User name that goes with the git password or token."
    )
    git_password: SecretStr | None = Field(
        None, description="Password or token for the repository, sent by basic authentication."
    )
    git_password_file: Path | None = Field(
        None,
        description="File with that password, read anew at each fetch, as for app tokens that change.",
    )
    git_bearer: SecretStr | None = Field(
        None, description="Token for the repository, sent as a bearer token instead."
    )
    git_ssh_key: Path | None = Field(
        None, description="File with the private ssh key for the repository, without a passphrase."
    )
    git_known_hosts: Path | None = Field(
        None, description="File with the ssh host keys to trust; by default the user's own."
    )
    git_signers: Path | None = Field(
        None,
        description="Apply only commits signed by these keys: an OpenSSH allowed_signers file,"
        " or exported OpenPGP public keys.",
    )


class WebSettings(Group):
    """The pages, the HTTP API and the webhooks of `reconciler serve`."""

    model_config = SettingsConfigDict(env_prefix="RECONCILER_WEB_")

    listen: str = Field(
        "127.0.0.1:8383",
        description="Address and port to listen on; only this machine by default.",
    )
    url: str | None = Field(
        None, description="Address under which people reach the pages, for links in messages."
    )
    token: SecretStr | None = Field(
        None, description="Who knows it may sign in and act; without one the pages are read-only."
    )
    private: bool = Field(default=False, description="Show nothing to those who haven't signed in.")
    user_header: str | None = Field(
        None,
        description="Header in which a proxy that signs people in gives their name,"
        " for example X-Forwarded-User.",
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="Addresses or networks of proxies whose user header is believed, as a JSON list.",
    )
    webhook_secret: SecretStr | None = Field(
        None, description="Secret that the git forge signs its webhooks with."
    )

    @field_validator("listen")
    @classmethod
    def _address(cls, value: str) -> str:
        host, _, port = value.strip().rpartition(":")
        if not port.isdecimal() or int(port) > _LAST_PORT:
            raise ValueError("is no address with a port, for example 127.0.0.1:8383")
        return f"{host.strip('[]') or '0.0.0.0'}:{port}"  # noqa: S104 - as written: ":8383"

    @property
    def host(self) -> str:
        """Where to listen."""
        return self.listen.rpartition(":")[0]

    @property
    def port(self) -> int:
        """The port to listen on; 0 for any that is free."""
        return int(self.listen.rpartition(":")[2])

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            ip_network(each, strict=False)
        return value
