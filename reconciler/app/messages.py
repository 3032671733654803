"""Tells people: one message when something begins to concern them, one when it is over."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import anyio
import anyio.to_thread

from reconciler import outgoing
from reconciler.app.servicelog import log
from reconciler.controller.board import Board
from reconciler.controller.history import History
from reconciler.errors import HistoryUnavailable, ReconcilerError, Transient
from reconciler.model.status import Concern, Message
from reconciler.notify import Receiver, Template, slack, webhook
from reconciler.runtime.clock import Clock
from reconciler.settings import NotifySettings

_PATIENCE = 900.0
"""Seconds for which a receiver that doesn't answer is tried, before the next look at what stands."""
_MOST_HEALED = 200

Concerns = Callable[[], Mapping[str, Concern]]
Blank = Callable[[], Message]


def receivers(settings: NotifySettings) -> list[Receiver]:
    """Return who is to be told.

    Raises:
        UsageError: a template is none.
    """
    found = []
    if settings.slack_url is not None:
        form = Template(settings.slack_template) if settings.slack_template else None
        found.append(slack(settings.slack_url.get_secret_value(), form))
    if settings.webhook_url is not None:
        form = Template(settings.webhook_template) if settings.webhook_template else None
        secret = settings.webhook_secret
        key = None if secret is None else secret.get_secret_value()
        found.append(webhook(settings.webhook_url.get_secret_value(), form, key))
    return found


@dataclass
class Messenger:
    """Tells one receiver.

    What was told is kept in the history, so a restart repeats nothing, and tells what ended
    meanwhile.

    Attributes:
        receiver: whom.
        board: what stands; its changes are what it looks for.
        clock: to wait with.
        settings: about what, how often.
        concerns: what concerns people now.
        blank: a message without content.
    """

    receiver: Receiver
    board: Board
    clock: Clock
    settings: NotifySettings
    concerns: Concerns
    blank: Blank
    _healed: list[Concern] = field(default_factory=list)

    def heal(self, concerns: Iterable[Concern]) -> None:
        """Add drift that was healed to the next message."""
        if "healed" in self.settings.on:
            self._healed = [*self._healed, *concerns][-_MOST_HEALED:]

    async def run(self) -> None:
        """Tell, for ever."""
        told = await anyio.to_thread.run_sync(_told, self.board.history, self._note)
        version = -1
        async with outgoing.client() as http:
            while True:
                version = await self.board.changed(version)
                if self.board.standing.turned_at is None or not self._news(told):
                    continue
                await self.clock.sleep(self.settings.seconds)
                version = self.board.version
                message = self._message(told)
                if message.empty:
                    continue
                if await self._send(http, message):
                    over = {one.id for one in message.ended}
                    told = {key: one for key, one in told.items() if key not in over}
                    told |= {one.id: one for one in message.begun}
                    await anyio.to_thread.run_sync(self._keep, told)

    def _news(self, told: Mapping[str, Concern]) -> bool:
        return bool(self._healed) or self._now().keys() != told.keys()

    def _now(self) -> dict[str, Concern]:
        return {k: one for k, one in self.concerns().items() if one.topic in self.settings.on}

    def _message(self, told: Mapping[str, Concern]) -> Message:
        now, blank = self._now(), self.blank()
        healed, self._healed = self._healed, []
        return Message(
            blank.inventory,
            blank.server,
            blank.revision,
            tuple(one for key, one in now.items() if key not in told),
            tuple(one for key, one in told.items() if key not in now),
            tuple({one.id: one for one in healed}.values()),
            blank.link,
        )

    async def _send(self, http: outgoing.Client, message: Message) -> bool:
        """Send it; return whether it counts as told."""
        send = partial(self.receiver.send, http, message)
        try:
            await outgoing.patiently(send, self.clock, _PATIENCE)
        except Transient as error:
            log.warning("a message was not sent and is tried again", reason=error.message)
            self._healed = [*message.healed, *self._healed][-_MOST_HEALED:]
            return False
        except ReconcilerError as error:
            log.error("a message was refused", reason=error.message, hint=error.hint)
        else:
            log.info("told", receiver=self.receiver.name, begun=len(message.begun))
        return True

    @property
    def _note(self) -> str:
        return f"told {self.receiver.name}"

    def _keep(self, told: Mapping[str, Concern]) -> None:
        kept = [[one.topic, one.subject, one.text] for one in told.values()]
        try:
            self.board.history.note(self._note, json.dumps(kept))
        except HistoryUnavailable as error:
            log.warning(error.message, hint=error.hint)


def _told(history: History, note: str) -> dict[str, Concern]:
    try:
        found = [Concern(*one) for one in json.loads(history.noted(note) or "[]")]
    except HistoryUnavailable:
        return {}
    return {one.id: one for one in found}
