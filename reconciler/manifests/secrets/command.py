"""Secrets that a program prints: a password manager, `sops -d`, a cloud's own store.

Only settings name it: a repository that could would run whatever it likes.
"""

import json
import subprocess
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_NAME = "{name}"
_SECONDS = 60
_LARGEST = 1_000_000


@dataclass(frozen=True)
class CommandSecrets:
    """A program and its arguments.

    With `{name}` among the arguments it is run for each secret, and prints it. Without, it is run
    once, and prints a JSON object of names and texts.
    """

    command: tuple[str, ...]

    @property
    def label(self) -> str:
        """How to call it."""
        return f"the command {self.command[0]}"

    def find(self, name: str) -> str | None:
        """Return what it prints.

        Raises:
            LookupError: it does not run, or prints something else.
        """
        if any(_NAME in word for word in self.command):
            if name.startswith("-"):
                raise LookupError(f"{name!r} could be taken for an option", "rename the secret")
            words = [word.replace(_NAME, name) for word in self.command]
            text = self._run(words)
            return None if text is None else text.removesuffix("\n").removesuffix("\r")
        value = self._all.get(name)
        if value is None or isinstance(value, str):
            return value
        raise LookupError(f"the secret {name} of {self.label} is no text", "a secret is a text")

    @cached_property
    def _all(self) -> dict[str, Any]:
        text = self._run(list(self.command))
        if text is None:
            raise LookupError(f"{self.label} failed", "run it by hand to see why")
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
        raise LookupError(
            f"{self.label} prints no JSON object",
            "make it print names and texts, or put {name} among its arguments",
        )

    def _run(self, words: list[str]) -> str | None:
        """Run it; None if it ends with an error. Its words may hold secrets, so none are shown."""
        try:
            done = subprocess.run(  # noqa: S603 - whoever runs the service chose it
                words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
            )
        except OSError as error:
            raise LookupError(
                f"{self.label} can't be run: {error.strerror}", "see RECONCILER_SECRETS_COMMAND"
            ) from None
        except subprocess.TimeoutExpired:
            raise LookupError(
                f"{self.label} took more than {_SECONDS} s", "run it by hand"
            ) from None
        if done.returncode:
            return None
        if len(done.stdout) > _LARGEST:
            raise LookupError(f"{self.label} prints more than 1 MB", "a secret is a short text")
        try:
            return done.stdout.decode()
        except UnicodeDecodeError:
            raise LookupError(f"what {self.label} prints is not UTF-8", "encode it") from None
