"""Settings that open the places of secrets; a repository never names them."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from reconciler.settings.base import Group, names


class SecretSettings(Group):
    """What opens the places that a policy names below `secrets:`."""

    model_config = SettingsConfigDict(env_prefix="RECONCILER_")

    age_identity: SecretStr | None = Field(
        None, description="Private keys of age, one a line, for encrypted files of the tree."
    )
    vault_addr: str | None = Field(
        None,
        validation_alias=names("RECONCILER_VAULT_ADDR", "VAULT_ADDR"),
        description="Address of HashiCorp Vault, for example https://vault.example:8200.",
    )
    vault_token: SecretStr | None = Field(
        None,
        validation_alias=names("RECONCILER_VAULT_TOKEN", "VAULT_TOKEN"),
        description="Token for Vault; it needs to read the entries that policies name.",
    )
    vault_namespace: str | None = Field(
        None,
        validation_alias=names("RECONCILER_VAULT_NAMESPACE", "VAULT_NAMESPACE"),
        description="Namespace of Vault Enterprise.",
    )
    vault_ca_file: Path | None = Field(
        None,
        validation_alias=names("RECONCILER_VAULT_CA_FILE", "VAULT_CACERT"),
        description="File with the certificate authorities to trust at Vault, in PEM form.",
    )
    secrets_command: tuple[str, ...] = Field(
        (),
        description="Program and arguments that print secrets, as a JSON list, asked last: a JSON"
        " object of all, or with {name} among the arguments one at a time.",
    )
