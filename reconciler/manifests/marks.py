"""The only door to YAML: bytes to nodes, inside limits, with the mark of every value.

The parser's events are put together here and not by the library: libyaml's own composer crashes
the interpreter on 50,000-deep nesting, and neither composer counts what aliases expand to
(facts/gitops-lessons: a 271-byte bomb has 43 million leaves). A file may be hostile.

YAML 1.1 as PyYAML, and so Prefect, reads it (`on` and `no` are booleans), with these exceptions:
dates stay the text that was written, since JSON has none; NaN and infinity, integers beyond
64 bit, keys that are no text and tags other than the core ones are flaws.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Never

import yaml

from reconciler.manifests.content import decode
from reconciler.manifests.nodes import Content, Entry, Flaw, Mark, Node

YAML: str = yaml.__version__
"""Of the parser."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_CORE = {_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq", "timestamp")}
_CHARACTERS_A_WEIGHT = 64  # a long text repeated by aliases costs memory like many values
_LARGEST_INTEGER = 2**63
_MOST_FLAWS = 100  # of one file: more help nobody
_LONGEST_NUMBER = 100  # 1:1:1:… is one number to base 60: a megabyte of it would take for ever
_UNQUOTED = 'put text with {{ … }} in quotes: "{{ … }}"'


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a file may hold.

    Attributes:
        size: bytes.
        depth: mappings and lists inside each other.
        weight: values, aliases written out.
        documents: documents.
    """

    size: int = 1_000_000
    depth: int = 100
    weight: int = 200_000
    documents: int = 10_000


def read(data: bytes, limits: Limits) -> Content:
    """Read a file's content. Never raises: what is wrong comes back as flaws."""
    text = decode(data)
    if isinstance(text, Flaw):
        return Content(flaws=(text,))
    composer = _Composer(limits)
    try:
        documents = tuple(composer.documents(yaml.parse(text, Loader=_LOADER)))
    except _Stop as stop:
        return Content(flaws=(*composer.flaws, stop.flaw))
    except yaml.MarkedYAMLError as error:
        return Content(flaws=(*composer.flaws, _syntax(error, text)))
    except yaml.YAMLError as error:
        return Content(flaws=(*composer.flaws, Flaw(Mark(), f"not YAML: {error}")))
    return Content(documents, tuple(composer.flaws))


class _Stop(Exception):  # noqa: N818 - not an error of the program
    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw.message)
        self.flaw = flaw


@dataclass(slots=True)
class _Composer:
    """Puts the events of one file together."""

    limits: Limits
    flaws: list[Flaw] = field(default_factory=list)
    anchors: dict[str, Node | None] = field(default_factory=dict)
    weight: int = 0

    def documents(self, events: Iterator[Any]) -> Iterator[Node]:
        """Yield the root of each document that isn't empty."""
        count = 0
        for event in events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            count += 1
            if count > self.limits.documents:
                many = f"more than {self.limits.documents:,} documents in one file"
                self._stop(event, many, "split the file")
            self.anchors.clear()
            node = self._node(next(events), events, 0)
            if node.value is not None:
                yield node

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        anchor = event.anchor
        if anchor is not None:
            self.anchors[anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif depth >= self.limits.depth:
            self._stop(
                event,
                f"nested more than {self.limits.depth} levels deep",
                "no manifest needs that many",
            )
        elif isinstance(event, yaml.MappingStartEvent):
            node = self._mapping(event, events, depth + 1)
        else:
            node = self._list(event, events, depth + 1)
        if anchor is not None:
            self.anchors[anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self.anchors:
            self._stop(
                event,
                f"the alias *{event.anchor} has no anchor &{event.anchor} before it",
                "put text that starts with * in quotes",
            )
        node = self.anchors[event.anchor]
        if node is None:
            inside = f"the alias *{event.anchor} stands inside its own anchor"
            self._stop(event, inside, "write the value out")
        self._add(event, node.weight)
        return node

    def _scalar(self, event: Any) -> Node:
        weight = 1 + len(event.value) // _CHARACTERS_A_WEIGHT
        self._add(event, weight)
        value = self._value(event)
        return Node(_mark(event), value, None, weight, isinstance(value, str) and "${{" in value)

    def _list(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        self._check_tag(event)
        self._add(event, 1)
        items: list[Node] = []
        while not isinstance(inner := next(events), yaml.SequenceEndEvent):
            items.append(self._node(inner, events, depth))
        return Node(
            _mark(event),
            [item.value for item in items],
            items,
            1 + sum(item.weight for item in items),
            any(item.dynamic for item in items),
        )

    def _mapping(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        self._check_tag(event)
        self._add(event, 1)
        entries: dict[str, Entry] = {}
        merged: list[Node] = []
        while not isinstance(key := next(events), yaml.MappingEndEvent):
            if _is_merge(key):
                merged.extend(self._merged(key, self._node(next(events), events, depth)))
                continue
            name = self._key(key, events, depth)
            entry = Entry(_mark(key), self._node(next(events), events, depth))
            if name is not None:
                self._enter(entries, name, entry)
        for node in merged:
            self._inherit(event, entries, node)
        return Node(
            _mark(event),
            {name: entry.node.value for name, entry in entries.items()},
            entries,
            1 + sum(1 + entry.node.weight for entry in entries.values()),
            any(entry.node.dynamic or "${{" in name for name, entry in entries.items()),
        )

    def _key(self, event: Any, events: Iterator[Any], depth: int) -> str | None:
        node = self._node(event, events, depth)
        if isinstance(node.value, str):
            return node.value
        written = getattr(event, "value", None)
        hint = _UNQUOTED if written is None else f'write it in quotes: "{written}"'
        self._flaw(Flaw(_mark(event), f"a key must be text, not {_word(node.value)}", hint))
        return None

    def _enter(self, entries: dict[str, Entry], name: str, entry: Entry) -> None:
        if name in entries:
            message = f"the key {_short(name)} stands twice in one mapping"
            first = entries[name].mark
            self._flaw(Flaw(entry.mark, message, "remove one of them", first))
        else:
            entries[name] = entry

    def _merged(self, event: Any, node: Node) -> list[Node]:
        nodes = node.items if isinstance(node.items, list) else [node]
        if all(isinstance(inner.items, dict) for inner in nodes):
            return nodes
        self._flaw(
            Flaw(_mark(event), "<< merges a mapping or a list of mappings", "as in <<: *defaults")
        )
        return []

    def _inherit(self, event: Any, entries: dict[str, Entry], node: Node) -> None:
        assert isinstance(node.items, dict)  # noqa: S101 - checked by _merged
        self._add(event, len(node.items))
        for name, entry in node.items.items():
            entries.setdefault(name, entry)

    def _value(self, event: Any) -> Any:
        tag = event.tag
        if tag is None or tag == "!":
            tag = _TAG + "str" if tag or not event.implicit[0] else _implicit(event.value)
        else:
            self._check_tag(event)
        construct = _CONSTRUCT.get(tag)
        if construct is None:
            return event.value
        try:
            return construct(event.value)
        except (ValueError, LookupError, OverflowError):  # PyYAML lets all of them out
            word = tag.removeprefix(_TAG)
            message = f"{_short(event.value)} is no {word} that JSON and Prefect can hold"
            self._flaw(Flaw(_mark(event), message, "write it in quotes if it is text"))
            return None

    def _check_tag(self, event: Any) -> None:
        if event.tag is not None and event.tag != "!" and event.tag not in _CORE:
            shown = event.tag.replace(_TAG, "!!")
            self._flaw(Flaw(_mark(event), f"the tag {_short(shown)} is not allowed", "remove it"))

    def _flaw(self, flaw: Flaw) -> None:
        self.flaws.append(flaw)
        if len(self.flaws) >= _MOST_FLAWS:
            raise _Stop(
                Flaw(
                    flaw.mark, "too many problems: the rest of the file was not read", "mend those"
                )
            )

    def _add(self, event: Any, weight: int) -> None:
        self.weight += weight
        if self.weight > self.limits.weight:
            self._stop(
                event,
                f"more than {self.limits.weight:,} values, aliases written out",
                "split the file, or repeat less by anchors",
            )

    def _stop(self, event: Any, message: str, hint: str) -> Never:
        raise _Stop(Flaw(_mark(event), message, hint))


class _Scalars(yaml.constructor.SafeConstructor, yaml.resolver.Resolver):
    """PyYAML's rules for scalars, without its readers."""

    def __init__(self) -> None:
        yaml.constructor.SafeConstructor.__init__(self)
        yaml.resolver.Resolver.__init__(self)


_SCALARS = _Scalars()


def _implicit(text: str) -> str:
    tag: str = _SCALARS.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return tag


def _boolean(text: str) -> object:
    return _SCALARS.construct_yaml_bool(yaml.ScalarNode(_TAG + "bool", text))


def _integer(text: str) -> object:
    if len(text) > _LONGEST_NUMBER:
        raise OverflowError
    value = _SCALARS.construct_yaml_int(yaml.ScalarNode(_TAG + "int", text))
    if not -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
        raise OverflowError
    return value


def _float(text: str) -> object:
    if len(text) > _LONGEST_NUMBER:
        raise OverflowError
    value = _SCALARS.construct_yaml_float(yaml.ScalarNode(_TAG + "float", text))
    if not math.isfinite(value):
        raise OverflowError
    return value


_CONSTRUCT: dict[str, Callable[[str], object]] = {
    _TAG + "null": lambda _: None,
    _TAG + "bool": _boolean,
    _TAG + "int": _integer,
    _TAG + "float": _float,
}


def _is_merge(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _word(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean (YAML reads on, off, yes and no so)"
    if isinstance(value, list):
        return "a list"
    return "a mapping" if isinstance(value, dict) else "a number"


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "…")  # noqa: PLR2004


def _syntax(error: yaml.MarkedYAMLError, text: str) -> Flaw:
    found = error.problem_mark or error.context_mark
    if found is None:
        return Flaw(Mark(), f"not YAML: {error.problem}")
    lines = text.splitlines()
    line = lines[found.line] if found.line < len(lines) else ""
    about = f" {error.context}" if error.context else ""
    return Flaw(
        Mark(found.line + 1, found.column + 1),
        f"not YAML: {error.problem}{about}",
        _syntax_hint(line, found.column),
    )


def _syntax_hint(line: str, column: int) -> str:
    if line[column : column + 1] == "\t" or "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with spaces: YAML allows no tabs there"
    if "{{" in line:
        return _UNQUOTED
    return "check indentation, colons and quotes around it"
