"""Plans and reports as text, JSON, Markdown and HTML. Pure: values in, strings out."""

from collections.abc import Callable
from enum import StrEnum

from reconciler.model.plan import Plan
from reconciler.model.report import Report


class Format(StrEnum):
    """How a plan is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"


def render(subject: Plan | Report, form: Format) -> str:
    """Write a plan or a report in a format; text comes with rich markup."""
    from reconciler.cli.render import html, markdown, text

    writers: dict[Format, Callable[[Plan | Report], str]] = {
        Format.TEXT: text.write,
        Format.JSON: as_json,
        Format.MARKDOWN: markdown.write,
        Format.HTML: html.write,
    }
    return writers[form](subject)


def as_json(subject: Plan | Report) -> str:
    """Write the public JSON form."""
    import json

    return json.dumps(subject.to_json(), indent=2, ensure_ascii=False)
