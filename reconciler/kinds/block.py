"""The kind Block: block documents of every type.

Types that we ship (`reconciler.blocks`) are checked offline by typed models and registered where a
server lacks them; all others are judged by the schema that the server has. A block's `data` is one
whole: an absent key means the schema's default, on both sides.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from reconciler.api import block_usage, blocks
from reconciler.api.block_usage import BlockUsage, RunCounts
from reconciler.blocks import foreign
from reconciler.blocks.base import BlockSettings
from reconciler.blocks.concealed import conceal, starred
from reconciler.blocks.data import normalise, secret_paths
from reconciler.blocks.declare import OWN_TYPES, PREFIX, is_generated, starred_problem
from reconciler.blocks.document import editor_schema, parse, recognises
from reconciler.blocks.export import told
from reconciler.blocks.prefect_schema import references as shipped_references
from reconciler.blocks.prefect_schema import schema_fields
from reconciler.blocks.registry import settings_of
from reconciler.errors import Refused, Unsupported
from reconciler.kinds.base import Notes, NotRenamed, Session, Written
from reconciler.model.desired import Declaration, Document, Parsed
from reconciler.model.exported import Exported
from reconciler.model.keys import Key
from reconciler.model.live import Evidence, Live
from reconciler.model.problems import Problem
from reconciler.model.rules import FieldRule, Follows, KindRules
from reconciler.model.server import ServerFacts
from reconciler.model.values import Fields, Masked, Ref, UnknownRef, Value, join

DATA = "data"

_FOLLOWS = (Follows("block-type", ("#0",)),)
_LEFT_BEHIND = "what pinned it, deployments apart, is deleted with it"


class Block(NotRenamed):
    """Block documents. See `reconciler.kinds.base.Kind` for what each method promises."""

    name: ClassVar[str] = "Block"
    prefix: ClassVar[str] = PREFIX
    example: ClassVar[str] = """\
kind: Block
block_type_slug: docker-container
name: etl
data:
  image: prefecthq/prefect:3-latest
  env: {EXTRA_PIP_PACKAGES: s3fs}
  image_registry: {$ref: docker-registry/private}
"""

    def recognises(self, document: Document) -> bool:
        """A mapping that names a block type."""
        return recognises(document)

    def parse(self, document: Document) -> Parsed:
        """Check offline and declare."""
        return parse(document)

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the document."""
        return editor_schema()

    def rules(self, facts: ServerFacts) -> KindRules:  # noqa: ARG002 - the same on every version
        """`data` is the only managed field."""
        fields = {DATA: FieldRule(default={})}
        return KindRules(fields, follows=_FOLLOWS, left_behind=_LEFT_BEHIND)

    async def conform(
        self, declaration: Declaration, session: Session
    ) -> tuple[Declaration, tuple[Problem, ...]]:
        """Judge the data by the server's schema and normalise it."""
        slug = declaration.key.parts[0]
        fields = session.block_schemas.get(slug)
        if fields is None:
            registered = await _registered(session, slug)
            if registered is None and settings_of(slug) is None:
                return declaration, (_unknown_type(declaration, session),)
            fields = {} if registered is None else registered.fields
        data = _data(declaration.fields)
        problems = tuple(_misfits(declaration, data, fields))
        if problems:
            return declaration, problems
        made = {DATA: normalise(slug, data, fields)}
        return replace(declaration, fields=made), ()

    def align(self, fields: Fields, live: Fields) -> Fields:  # noqa: ARG002 - the Protocol's
        """Nothing is left open: an absent key means its default."""
        return fields

    async def listing(self, session: Session) -> AsyncIterator[Live]:
        """Yield every named document that isn't our own book-keeping."""
        async for document in blocks.documents(session.api, secrets=session.secrets):
            if document.slug not in OWN_TYPES:
                yield _live(document, session)

    async def find(self, session: Session, key: Key) -> Live | None:
        """Look up by slug and name."""
        slug, name = key.parts
        found = await blocks.find_document(session.api, slug, name, secrets=session.secrets)
        return None if found is None else _live(found, session)

    async def read(self, session: Session, key: Key, id_: str) -> Live | None:  # noqa: ARG002
        """Read by id."""
        found = await blocks.read_document(session.api, id_, secrets=session.secrets)
        return None if found is None else _live(found, session)

    async def create(self, session: Session, key: Key, fields: Fields) -> Written:
        """Create a document, its type and schema first where we ship them and they're missing."""
        slug, name = key.parts
        registered = await ensure_registered(session, slug)
        data = _payload(_data(fields), session, masked=None)
        id_ = await blocks.create_document(
            session.api, name, data, type_id=registered.type_id, schema_id=registered.schema_id
        )
        session.index.add(key, id_)
        return Written(id_)

    async def before_update(self, session: Session, live: Live, fields: Fields) -> Notes | None:  # noqa: ARG002
        """Note nothing: a write to a block takes nothing away."""
        return None

    async def after_update(self, session: Session, live: Live, notes: Notes) -> None:
        """Do nothing: a write to a block takes nothing away."""

    async def update(self, session: Session, live: Live, fields: Fields) -> None:
        """Replace the data; the document keeps the schema it was written with."""
        data = _data(fields)
        masked = None
        if any(isinstance(value, Masked) for value in _all(data)):
            masked = await blocks.read_document(session.api, live.id, secrets=False)
        payload = _payload(data, session, masked=None if masked is None else masked.data)
        await blocks.update_document(session.api, live.id, payload)

    async def delete(self, session: Session, live: Live) -> None:
        """Delete by id."""
        await blocks.delete_document(session.api, live.id)
        session.index.drop(live.key)

    async def evidence(self, session: Session, key: Key, id_: str) -> Evidence:  # noqa: ARG002
        """See whether it is there, and count what the server would delete with it."""
        if await blocks.read_document(session.api, id_, secrets=False) is None:
            return Evidence(present=False)
        usage = await _usage(session)
        runs = usage.runs.get(id_, RunCounts())
        takes = {
            **{i: f"deletes deployment/{n}" for i, n in usage.deployments.get(id_, {}).items()},
            **{i: f"block/{text}" for i, text in usage.parents.get(id_, {}).items()},
        }
        return Evidence(
            present=True,
            cascades=tuple(block_usage.history(runs, usage)),
            active_runs=runs.active,
            takes=takes,
        )

    async def describe(self, session: Session, live: Live) -> Exported | None:  # noqa: ARG002
        """Write type, name and data; what was made for an inline infrastructure is told there."""
        slug, name = live.key.parts
        if is_generated(name):
            return None
        data, notes = told(_data(live.fields))
        document = {"kind": self.name, "block_type_slug": slug, "name": name}
        return Exported(live.key, {**document, **({"data": data} if data else {})}, notes)


@dataclass(frozen=True, slots=True)
class Registered:
    """A block type on the server, ready for new documents."""

    type_id: str
    schema_id: str
    checksum: str
    fields: Mapping[str, Any]


async def ensure_registered(session: Session, slug: str) -> Registered:
    """Return a block type on the server, registering it where we ship it and it is missing.

    What the server has is never changed. A second call writes nothing.

    Raises:
        Unsupported: the server lacks a type that we don't ship.
    """
    found = await _registered(session, slug)
    if found is not None:
        return found
    return await session.once((PREFIX, "register", slug), partial(_register, session, slug))


async def _register(session: Session, slug: str) -> Registered:
    model = settings_of(slug)
    if model is None:
        raise Unsupported(f"the server has no block type {slug}", hint=_how_to_register(slug))
    checksums = {
        inner: (await ensure_registered(session, inner)).checksum
        for inner in dict.fromkeys(shipped_references(model).values())
    }
    new = _new_type(model, checksums)
    type_ = await blocks.find_type(session.api, slug)
    if type_ is None:
        type_ = await blocks.register_type(session.api, new)
    schema = await blocks.register_schema(session.api, type_.id, new)
    made = Registered(type_.id, schema.id, schema.checksum, schema.fields)
    session.cache[PREFIX, "type", slug] = made
    return made


async def _registered(session: Session, slug: str) -> Registered | None:
    """Look a type and the schema for new documents up, once a session."""
    return await session.once((PREFIX, "type", slug), partial(_look_up, session, slug))


async def _look_up(session: Session, slug: str) -> Registered | None:
    type_ = await blocks.find_type(session.api, slug)
    schema = None if type_ is None else await blocks.best_schema(session.api, type_.id)
    if type_ is None or schema is None:
        return None
    return Registered(type_.id, schema.id, schema.checksum, schema.fields)


def _new_type(model: type[BlockSettings], checksums: Mapping[str, str]) -> blocks.NewBlockType:
    return blocks.NewBlockType(
        slug=model.slug,
        name=model.type_name,
        description=(model.__doc__ or "").strip(),
        capabilities=model.capabilities,
        version=model.schema_version,
        fields=schema_fields(model, checksums),
    )


def _live(document: blocks.BlockDocument, session: Session) -> Live:
    key = Key.of(PREFIX, document.slug, document.name)
    session.index.add(key, document.id)
    data: dict[str, Value] = {
        **document.data,
        **{name: _reference(target) for name, target in document.references.items()},
    }
    # Where a declaration was judged, the same schema counts for both sides, although an older
    # document keeps its own; what the server masks goes by that one.
    judged: Registered | None = session.cache.get((PREFIX, "type", document.slug))
    registered = document.schema if judged is None else judged.fields
    fields = session.block_schemas.get(document.slug, registered)
    normal = normalise(document.slug, data, fields)
    return Live(
        key=key,
        id=document.id,
        fields={DATA: conceal(normal, document.schema.get("secret_fields") or ())},
        created=document.created,
        updated=document.updated,
    )


def _reference(target: blocks.Target) -> Ref | UnknownRef:
    if target.anonymous:
        return UnknownRef(target.id)
    return Ref(Key.of(PREFIX, target.slug, target.name))


def _data(fields: Fields) -> Mapping[str, Value]:
    data = fields.get(DATA)
    return data if isinstance(data, Mapping) else {}


def _misfits(
    declaration: Declaration, data: Mapping[str, Value], fields: Mapping[str, Any]
) -> Iterator[Problem]:
    """Yield what the server's schema finds wrong; shipped types were checked offline."""
    slug = declaration.key.parts[0]
    if settings_of(slug) is None:
        for complaint in foreign.check(slug, data, fields):
            place = declaration.at(_field_path(complaint.path))
            yield Problem(place, complaint.message, complaint.hint)
    for path in starred(data, secret_paths(slug, fields)):
        yield starred_problem(declaration.at(_field_path(path.split("."))))


def _field_path(steps: Any) -> str:
    path = DATA
    for step in steps:
        path = join(path, str(step))
    return path


def _unknown_type(declaration: Declaration, session: Session) -> Problem:
    slug = declaration.key.parts[0]
    return Problem(
        declaration.place,
        f"{session.facts} has no block type {slug}",
        _how_to_register(slug),
    )


def _how_to_register(slug: str) -> str:
    return (
        f"declare it (kind: BlockType), or install the package that brings {slug} and run "
        "`prefect block register -m <its module>` against this server"
    )


def _payload(
    data: Mapping[str, Value], session: Session, *, masked: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Turn data into what is sent. `Secret` stays: the client reveals it at the request.

    Args:
        data: whole.
        session: its index knows the ids of references.
        masked: the live data as shown without secrets; its eight stars tell Prefect to keep them.

    Raises:
        Refused: a secret is not known here, and the server has none to keep.
    """
    return {
        name: _outgoing(value, session, (masked or {}).get(name)) for name, value in data.items()
    }


def _outgoing(value: Value, session: Session, masked: Any) -> Any:
    if isinstance(value, Ref):
        return blocks.reference(session.index.ids[value.key])
    if isinstance(value, UnknownRef):
        return blocks.reference(value.id)
    if isinstance(value, Masked):
        if not masked:
            raise Refused(
                "a secret can't be written since it wasn't read", hint="leave --no-secrets out"
            )
        return masked
    if isinstance(value, Mapping):
        inner = masked if isinstance(masked, Mapping) else {}
        return {key: _outgoing(v, session, inner.get(key)) for key, v in value.items()}
    if isinstance(value, list):
        return [_outgoing(item, session, None) for item in value]
    return value


def _all(value: Value) -> Iterator[Value]:
    yield value
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _all(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _all(inner)


async def _usage(session: Session) -> BlockUsage:
    """Read once a session who uses which block; several deletes ask at the same time."""
    return await session.once((PREFIX, "usage"), partial(block_usage.block_usage, session.api))
