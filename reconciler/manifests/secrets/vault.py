"""Secrets in HashiCorp Vault's (or OpenBao's) KV store, version 2: one entry, read once.

Source: Vault's HTTP API, "KV secrets engine, version 2", and hvac's documentation.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reconciler.model.values import Secret

_SECONDS = 15


@dataclass(frozen=True, slots=True)
class VaultAccess:
    """How to reach Vault.

    Attributes:
        address: of the server.
        token: ours.
        namespace: of Vault Enterprise; None for none.
        ca_file: authorities to trust, in PEM form; None for the usual ones.
    """

    address: str
    token: Secret
    namespace: str | None = None
    ca_file: str | None = None


@dataclass(frozen=True)
class VaultSecrets:
    """One entry of a KV store; each of its keys is a secret.

    Attributes:
        access: how to reach it; None if the settings don't say.
        mount: where the store is mounted.
        path: of the entry.
    """

    access: VaultAccess | None
    mount: str
    path: str

    @property
    def label(self) -> str:
        """How to call it."""
        return f"Vault's {self.mount}/{self.path}"

    def find(self, name: str) -> str | None:
        """Return a secret of the entry.

        Raises:
            LookupError: Vault can't be asked, or the secret is no text.
        """
        value = self._values.get(name)
        if value is None or isinstance(value, str):
            return value
        raise LookupError(f"the secret {name} in {self.label} is no text", "a secret is a text")

    @cached_property
    def _values(self) -> dict[str, Any]:
        """The newest version of the entry; empty where there is none."""
        access = self.access
        if access is None:
            raise LookupError(
                f"where is Vault? {self.label} is to be read",
                "set RECONCILER_VAULT_ADDR and RECONCILER_VAULT_TOKEN",
            )
        try:
            import hvac  # noqa: PLC0415 - an extra
            from hvac import exceptions  # noqa: PLC0415
            from requests import RequestException  # noqa: PLC0415
        except ImportError:
            raise LookupError(
                f"{self.label} needs hvac", "pip install 'prefect-reconciler[vault]'"
            ) from None
        client = hvac.Client(
            url=access.address,
            token=str(access.token.reveal()),
            namespace=access.namespace,
            verify=access.ca_file or True,
            timeout=_SECONDS,
        )
        try:
            answer = client.secrets.kv.v2.read_secret_version(
                self.path, mount_point=self.mount, raise_on_deleted_version=True
            )
            found: dict[str, Any] = answer["data"]["data"] or {}
        except exceptions.InvalidPath:
            return {}
        except exceptions.Forbidden:
            raise LookupError(
                f"Vault does not let us read {self.mount}/{self.path}",
                "the token may have expired, or lacks the policy",
            ) from None
        except exceptions.VaultDown:
            raise LookupError("Vault is sealed, or not ready", "unseal it") from None
        except exceptions.VaultError as error:
            raise LookupError(f"Vault answered: {type(error).__name__}", self.label) from None
        except (RequestException, KeyError, TypeError, ValueError) as error:
            raise LookupError(
                f"Vault can't be asked at {access.address}: {type(error).__name__}",
                "see RECONCILER_VAULT_ADDR",
            ) from None
        finally:
            client.adapter.close()
        return found
