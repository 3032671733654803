"""Documents as YAML text: stable, readable, and read back as the same values."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from reconciler.model.values import Masked, Secret, Value

_UNSAID = re.compile(r"\$\{\{")

Named = Callable[[str], str]
"""Returns the name of the secret that stands at a field path."""


def write_yaml(document: Mapping[str, Value], named: Named) -> str:
    """Write a document.

    Args:
        document: JSON; where a secret belongs, a leaf is `Masked`.
        named: gives the secret's name.
    """
    plain = _plain(document, (), named)
    text: str = yaml.dump(
        plain,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=False,
    )
    return text


def _plain(value: Value, path: tuple[str, ...], named: Named) -> Any:
    if isinstance(value, Masked | Secret):
        return f"${{{{ secrets.{named('.'.join(path))} }}}}"
    if isinstance(value, Mapping):
        return {key: _plain(inner, (*path, str(key)), named) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, (*path, str(index)), named) for index, inner in enumerate(value)]
    # What stands there as it is must not be taken for one of our variables.
    return _UNSAID.sub("$${{", value) if isinstance(value, str) else value


class _Dumper(yaml.SafeDumper):
    """Never writes anchors, indents lists, and writes long texts as blocks."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow, False)  # noqa: FBT003


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    lines = text.split("\n")
    block = len(lines) > 1 and all(line == line.rstrip() and line.isprintable() for line in lines)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if block else None)


_Dumper.add_representer(str, _text)
