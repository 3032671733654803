"""Secrets in a file of the tree, encrypted with age for whoever may read them.

The file holds YAML, a mapping of names to texts, encrypted as a whole: binary or armored, for any
number of recipients (`age -R recipients.txt -o secrets.age secrets.yaml`).
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from reconciler.manifests import marks
from reconciler.model.values import Secret

_ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"
_IDENTITY = "AGE-SECRET-KEY-1"


@dataclass(frozen=True)
class AgeSecrets:
    """One such file.

    Attributes:
        path: in the tree.
        content: of the file, encrypted.
        identities: private keys; None if the settings give none.
    """

    path: str
    content: bytes = field(repr=False)
    identities: Secret | None

    @property
    def label(self) -> str:
        """How to call it."""
        return f"the encrypted file {self.path}"

    def find(self, name: str) -> str | None:
        """Return a secret of the file.

        Raises:
            LookupError: the file can't be opened, or the secret is no text.
        """
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise LookupError(f"the secret {name} in {self.path} is no text", "put it in quotes")
        return value

    @cached_property
    def _values(self) -> dict[str, Any]:
        read = marks.read(self._opened(), marks.Limits())
        documents = [one.value for one in read.documents]
        if read.flaws or len(documents) != 1 or not isinstance(documents[0], dict):
            raise LookupError(f"what {self.path} holds is no mapping", "names and texts, as YAML")
        return documents[0]

    def _opened(self) -> bytes:
        if self.identities is None:
            raise LookupError(
                f"{self.path} can't be opened without an identity",
                "set RECONCILER_AGE_IDENTITY_FILE to a file that age-keygen wrote",
            )
        try:
            from pyrage import DecryptError, IdentityError, decrypt, x25519  # noqa: PLC0415
        except ImportError:
            raise LookupError(
                f"{self.path} needs pyrage", "pip install 'prefect-reconciler[age]'"
            ) from None
        lines = str(self.identities.reveal()).split()
        try:
            keys = [x25519.Identity.from_str(one) for one in lines if one.startswith(_IDENTITY)]
        except IdentityError:
            keys = []
        if not keys:
            raise LookupError(
                "the age identity is none", "it is a line that begins with AGE-SECRET-KEY-1"
            )
        try:
            opened: bytes = decrypt(self.content, keys)
        except DecryptError:
            raise LookupError(
                f"{self.path} does not open: it was made for other recipients, or changed",
                "encrypt it for our recipient, too; `age-keygen -y` shows it",
            ) from None
        return opened
