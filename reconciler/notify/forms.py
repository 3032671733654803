"""Messages as JSON. Pure.

Source for Slack: "Formatting text for app surfaces", "Sending messages using incoming webhooks":
a section's text has at most 3,000 characters; `&`, `<` and `>` are escaped.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from reconciler.model.status import Concern, Message

FORMAT_VERSION = 1
_MOST_LINES = 15
_LONGEST_LINE = 180
_LONGEST_SECTION = 2990
_SIGNS = {"begun": "🔴", "ended": "🟢", "healed": "🔧"}
_WORDS = {
    "source": "repository",
    "manifests": "manifests",
    "server": "Prefect API",
    "failed": "failed",
    "drift": "drift",
    "healed": "healed",
    "held": "held back",
}


def generic_json(message: Message) -> dict[str, Any]:
    """Return what a generic webhook gets."""
    lists = {name: [_concern(one) for one in getattr(message, name)] for name in _SIGNS}
    return {
        "format_version": FORMAT_VERSION,
        "inventory": message.inventory,
        "server": message.server,
        "revision": message.revision,
        "link": message.link,
        **lists,
        "text": "\n".join(lines(message)),
    }


def slack_json(message: Message) -> dict[str, Any]:
    """Return what a Slack channel gets: a title, and a section for each list."""
    title = f"*Reconciler: {_slack(message.inventory or 'service')}*"
    if message.link:
        title += f" · <{_slack(message.link)}|open>"
    sections = [title, *(_fit(map(_slack, _of(message, name))) for name in _SIGNS)]
    return {
        "text": "\n".join(filter(None, sections)),
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": text}}
            for text in sections
            if text
        ],
        "unfurl_links": False,
    }


def lines(message: Message) -> Iterator[str]:
    """Yield a line for each concern, so many that a message stays readable."""
    for name in _SIGNS:
        yield from _of(message, name)


def _of(message: Message, name: str) -> Iterator[str]:
    found: tuple[Concern, ...] = getattr(message, name)
    over = "over: " if name == "ended" else ""
    for one in found[:_MOST_LINES]:
        yield _cut(f"{_SIGNS[name]} {over}{_WORDS[one.topic]}: {_said(one)}")
    if len(found) > _MOST_LINES:
        yield f"{_SIGNS[name]} … and {len(found) - _MOST_LINES} more"


def _fit(found: Iterable[str]) -> str:
    """Join lines; those that a section of Slack's has no room for are left out."""
    text = ""
    for line in found:
        if len(text) + len(line) >= _LONGEST_SECTION:
            return f"{text}\n…"
        text = f"{text}\n{line}" if text else line
    return text


def _said(one: Concern) -> str:
    return " — ".join(part for part in (one.subject, one.text) if part)


def _cut(line: str) -> str:
    flat = " ".join(line.split())
    return flat if len(flat) <= _LONGEST_LINE else f"{flat[: _LONGEST_LINE - 1]}…"


def _concern(one: Concern) -> dict[str, str]:
    return {"id": one.id, **asdict(one)}


def _slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
