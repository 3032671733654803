"""Whole kinds for the tests of manifests: small, offline, but true to the Protocol's rules."""

from collections.abc import Mapping
from typing import Any, ClassVar

from reconciler.model.desired import Declaration, Document, Parsed
from reconciler.model.keys import Key
from reconciler.model.near import did_you_mean
from reconciler.model.problems import Problem
from reconciler.model.values import Ref


class _Offline:
    """What manifests never ask of a kind."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"manifests must not ask a kind for {name}")


class _Fake(_Offline):
    name: ClassVar[str]
    prefix: ClassVar[str]
    identity: ClassVar[tuple[str, str]]
    fields: ClassVar[frozenset[str]]

    def recognises(self, document: Document) -> bool:
        return all(word in document.value for word in self.identity)

    def parse(self, document: Document) -> Parsed:
        problems = [
            Problem(document.at(key), f"unknown key {key!r}", did_you_mean(key, self._known()))
            for key in document.value
            if key not in self._known()
        ]
        words = [document.value.get(word) for word in self.identity]
        for word, text in zip(self.identity, words, strict=True):
            if not isinstance(text, str):
                problems.append(Problem(document.at(word), f"`{word}` must be text", "name it"))
        if problems:
            return Parsed((), tuple(problems))
        key = Key(self.prefix, tuple(str(word) for word in words))
        return self.declared(key, document)

    def declared(self, key: Key, document: Document) -> Parsed:
        fields = {k: self.field(k, v) for k, v in document.value.items() if k in self.fields}
        places = {".".join(map(str, path)): place for path, place in document.places.items()}
        return Parsed((Declaration(key, fields, document.place, places),))

    def field(self, name: str, value: object) -> object:
        return value

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {"kind": {"const": self.name}, "x": {"$ref": "#/$defs/X"}},
            "$defs": {"X": {"type": "array", "items": {"$ref": "#/$defs/X"}}},
        }

    def _known(self) -> set[str]:
        return {"kind", *self.identity, *self.fields}


class FakeBlock(_Fake):
    name = "Block"
    prefix = "block"
    identity = ("block_type_slug", "name")
    fields = frozenset({"data"})

    def field(self, name: str, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        return {
            key: Ref(Key.parse("block/" + str(inner["$ref"])))
            if isinstance(inner, Mapping) and "$ref" in inner
            else inner
            for key, inner in value.items()
        }


class FakeDeployment(_Fake):
    """Takes an inline infrastructure along, as the real one does."""

    name = "Deployment"
    prefix = "deployment"
    identity = ("flow_name", "name")
    fields = frozenset(
        [
            "infrastructure",
            "paused",
            "tags",
            "parameters",
            "path",
            "entrypoint",
            "pull_steps",
            "version",
            "manifest_path",
            "timestamp",
            "pull",
            "description",
        ]
    )

    def field(self, name: str, value: object) -> object:
        if name == "infrastructure" and isinstance(value, str):
            return Ref(Key.parse(f"block/{value}"))
        return value

    def declared(self, key: Key, document: Document) -> Parsed:
        parsed = super().declared(key, document)
        inline = document.value.get("infrastructure")
        if not isinstance(inline, Mapping):
            return parsed
        extra = Declaration(
            Key.of("block", str(inline["type"]), "inline"),
            {"data": dict(inline)},
            document.at("infrastructure"),
            generated=True,
        )
        return Parsed((*parsed.declarations, extra))


KINDS = (FakeBlock(), FakeDeployment())
