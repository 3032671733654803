"""What all groups of settings share."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import AliasChoices
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict


class Group(BaseSettings):
    """Settings that belong together."""

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


def names(*names: str) -> AliasChoices:
    """Return the variables that a setting is read from, the winning one first."""
    return AliasChoices(*names)


def state_home(variables: Mapping[str, str]) -> Path:
    """Return the folder for state, by the XDG rules."""
    home = variables.get("XDG_STATE_HOME") or f"{variables.get('HOME') or '~'}/.local/state"
    return Path(home).expanduser() / "reconciler"


def variables_of(group: type[Group], field: str) -> tuple[str, ...]:
    """Return the variables that a setting is read from, the winning one first."""
    alias = group.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (f"{group.model_config.get('env_prefix', '')}{field}".upper(),)
