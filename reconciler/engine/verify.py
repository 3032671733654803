"""Reading back what was touched: the API's word that it now holds what git wants."""

from collections.abc import Mapping
from functools import partial

from reconciler.engine import diff
from reconciler.engine.access import Access
from reconciler.errors import Transient
from reconciler.model import paths
from reconciler.model.desired import Declaration
from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.keys import Key
from reconciler.model.live import Live
from reconciler.model.plan import Cause, Change, FieldChange
from reconciler.model.values import ABSENT, contains_secret, join
from reconciler.runtime.together import together

_MANY = 20  # from here on a listing may cost less than reading each by id
_SHARE = 1 / 5  # of the kind's objects: listed, each costs a fifth of what a read by id does

_KEPT = "the server keeps another value, or something else wrote it at the same time"
_DROPPED = "the server did not keep it"


async def read_back(ids: Mapping[Key, str], access: Access) -> dict[Key, Live | None]:
    """Read objects again, None for those that are gone; what can't be read is left out."""
    found: dict[Key, Live | None] = {}
    for prefix in sorted({key.kind for key in ids}):
        some = {key: id_ for key, id_ in ids.items() if key.kind == prefix}
        known = sum(key.kind == prefix for key in access.session.index.ids)
        if len(some) >= max(_MANY, known * _SHARE):
            found |= await _listed(prefix, some, access)
        else:
            for answer in await together(
                partial(_read, key, id_, access) for key, id_ in some.items()
            ):
                found |= answer
    return found


async def _listed(prefix: str, ids: Mapping[Key, str], access: Access) -> dict[Key, Live | None]:
    try:
        listed = {live.id: live async for live in access.kinds[prefix].listing(access.session)}
    except Transient:
        return {}
    return {key: listed.get(id_) for key, id_ in ids.items()}


async def _read(key: Key, id_: str, access: Access) -> dict[Key, Live | None]:
    try:
        return {key: await access.kind(key).read(access.session, key, id_)}
    except Transient:
        return {}


def remaining(
    change: Change,
    declaration: Declaration,
    live: Live,
    access: Access,
    fingerprinter: Fingerprinter,
) -> tuple[FieldChange, ...]:
    """Return what still differs after a write: nothing, if the server keeps what it is given."""
    target = access.kind(change.key).align(change.target, live.fields)
    known = diff.Known(target, live.fields)
    found = []
    for name, value in target.items():
        after, before = diff.settle(
            value, live.fields.get(name, ABSENT), join("", name), trusted=lambda _: True
        )
        for keys in diff.differing({name: before}, {name: after}, fingerprinter):
            old, new = paths.at(before, keys[1:]), paths.at(after, keys[1:])
            path = paths.spell(keys)
            secret = (
                _was_secret(change, path)
                or contains_secret(old)
                or contains_secret(new)
                or known.inside(old)
                or known.inside(new)
            )
            found.append(
                FieldChange(
                    path=path,
                    before=diff.shown(old, old, secret=secret),
                    after=diff.shown(new, old, secret=secret),
                    cause=Cause.DRIFT,
                    source=declaration.at(path),
                    held=_DROPPED if old is ABSENT else _KEPT,
                )
            )
    return tuple(found)


def _was_secret(change: Change, path: str) -> bool:
    marks = (diff.SECRET, diff.SECRET_CHANGED)
    return any(
        paths.related(field.path, path)
        for field in change.fields
        if field.before in marks or field.after in marks
    )
