"""Who is sent messages: a Slack channel, any address that takes JSON."""

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import httpx

from reconciler.model.status import Message
from reconciler.notify.forms import generic_json, slack_json
from reconciler.outgoing import Correspondent

SIGNATURE = "X-Reconciler-Signature-256"

Form = Callable[[Message], Any]
"""Makes the JSON of a message."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody who is sent messages.

    Attributes:
        name: for people and for the note of what was told.
        url: of theirs; it may be a secret.
        form: makes their JSON.
        secret: signs it; None for no signature.
    """

    name: str
    url: str
    form: Form
    secret: str | None = None

    async def send(self, http: httpx.AsyncClient, message: Message) -> None:
        """Send a message once.

        Raises:
            ReconcilerError: it did not go; `Transient` if it may go later.
        """
        body = json.dumps(self.form(message), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"}
        if self.secret is not None:
            digest = hmac.new(self.secret.encode(), body, sha256).hexdigest()
            headers[SIGNATURE] = f"sha256={digest}"
        await Correspondent(http, self.name, lambda: headers).tell(self.url, body)


def slack(url: str, form: Form | None = None) -> Receiver:
    """Return a channel by its incoming webhook."""
    return Receiver("Slack", url, form or slack_json)


def webhook(url: str, form: Form | None = None, secret: str | None = None) -> Receiver:
    """Return an address that takes JSON."""
    return Receiver("the webhook", url, form or generic_json, secret)
