"""Plans and reports as text, JSON, Markdown and HTML. Pure: values in, strings out."""

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
    match form:
        case Format.TEXT:
            from reconciler.cli.render import text

            return text.write(subject)
        case Format.MARKDOWN:
            from reconciler.cli.render import markdown

            return markdown.write(subject)
        case Format.HTML:
            from reconciler.cli.render import html

            return html.write(subject)
        case Format.JSON:
            return as_json(subject)


def as_json(subject: Plan | Report) -> str:
    """Write the public JSON form."""
    import json

    return json.dumps(subject.to_json(), indent=2, ensure_ascii=False)
