"""Settings of who is told: the git forge, chat, webhooks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from reconciler.settings.base import Group, names

TOPICS = ("source", "manifests", "server", "failed", "drift", "healed", "held")
"""What messages can be about."""


class ForgeSettings(Group):
    """Where commit statuses go."""

    model_config = SettingsConfigDict(env_prefix="RECONCILER_FORGE_")

    kind: Literal["github", "gitlab", "gitea"] | None = Field(
        None,
        validation_alias=names("RECONCILER_FORGE"),
        description="The git forge: github, gitlab or gitea (Forgejo too);"
        " by default what the repository's host name says.",
    )
    url: str | None = Field(
        None, description="Address of the forge's API; by default where that forge has it."
    )
    project: str | None = Field(
        None, description="Path of the project there; by default that of the repository's address."
    )
    token: SecretStr | None = Field(
        None, description="Token that may write commit statuses; without one there are none."
    )
    token_file: Path | None = Field(
        None,
        description="File with that token, read anew each time, as for app tokens that change.",
    )
    name: str = Field(
        "reconciler", min_length=1, description="Name of the commit status, one a service."
    )

    @field_validator("url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None:
            _check_url(value)
        return value


class NotifySettings(Group):
    """Who is sent messages, and about what."""

    model_config = SettingsConfigDict(env_prefix="RECONCILER_NOTIFY_")

    slack_url: SecretStr | None = Field(
        None, description="Incoming webhook of a Slack channel (or of Mattermost, Rocket.Chat)."
    )
    slack_template: Path | None = Field(
        None, description="File with a Jinja template of the JSON that Slack gets."
    )
    webhook_url: SecretStr | None = Field(
        None, description="Address that gets each message as JSON."
    )
    webhook_secret: SecretStr | None = Field(
        None, description="Secret that signs it: HMAC-SHA256 in X-Reconciler-Signature-256."
    )
    webhook_template: Path | None = Field(
        None, description="File with a Jinja template of the JSON that this address gets."
    )
    on: tuple[str, ...] = Field(
        ("source", "manifests", "server", "failed", "drift", "healed"),
        description=f"What to tell of, as a JSON list of: {', '.join(TOPICS)}.",
    )
    seconds: float = Field(
        30.0,
        ge=0,
        description="Least time between two messages; what passes sooner is not told at all.",
    )

    @field_validator("slack_url", "webhook_url")
    @classmethod
    def _address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _check_url(value.get_secret_value())
        return value

    @field_validator("on")
    @classmethod
    def _known(cls, value: Sequence[str]) -> Sequence[str]:
        wrong = [each for each in value if each not in TOPICS]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is none of {', '.join(TOPICS)}")
        return value


def _check_url(text: str) -> None:
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or True)
    except ValueError:
        good = False
    if not good:
        raise ValueError("is no http or https URL")
