"""Messages in a form of the user's own: a Jinja template that gives JSON."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from reconciler.errors import UsageError
from reconciler.model.status import Concern, Message
from reconciler.notify.forms import lines

_SAMPLE = Message(
    "sample",
    "http://127.0.0.1:4200/api",
    "0" * 40,
    (Concern("drift", "deployment/etl/nightly", "tags changed in the API"),),
    (Concern("source", "", "the repository can't be read"),),
    (Concern("healed", "block/process/local", "env changed in the API"),),
    "https://reconciler.example",
)


class Template:
    r"""A file with a template. It knows the message's fields, and `lines`, a list of texts.

    Values go through `tojson`: `{"text": {{ lines | join("\n") | tojson }}}`.
    """

    def __init__(self, file: Path) -> None:
        """Read it, and try it on a sample.

        Raises:
            UsageError: it can't be read, or gives no JSON.
        """
        self._file = file
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
        try:
            self._template = environment.from_string(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the template {file} can't be read: {error}") from None
        except TemplateError as error:
            raise UsageError(f"the template {file} is no Jinja template: {error}") from None
        self(_SAMPLE)

    def __call__(self, message: Message) -> Any:
        """Return the JSON of a message.

        Raises:
            UsageError: what it gives is none.
        """
        try:
            text = self._template.render({**asdict(message), "lines": list(lines(message))})
            return json.loads(text)
        except TemplateError as error:
            raise UsageError(f"the template {self._file}: {error}") from None
        except ValueError as error:
            raise UsageError(
                f"the template {self._file} gives no JSON: {error}",
                hint="pass each value through `tojson`",
            ) from None
