"""The one normal form of a block's data: both sides of every comparison pass through here."""

from collections.abc import Mapping
from typing import Any

from reconciler.blocks import foreign, typed
from reconciler.blocks.concealed import conceal
from reconciler.blocks.prefect_schema import secret_fields
from reconciler.blocks.registry import settings_of
from reconciler.model.values import Value


def secret_paths(slug: str, fields: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the secret fields of a type: ours and the server's together.

    Args:
        slug: of the block type.
        fields: of the schema on the server, None where it has none (yet).
    """
    model = settings_of(slug)
    ours = () if model is None else secret_fields(model)
    return tuple(dict.fromkeys((*ours, *((fields or {}).get("secret_fields") or ()))))


def normalise(
    slug: str, data: Mapping[str, Value], fields: Mapping[str, Any] | None = None
) -> dict[str, Value]:
    """Bring data into its normal form: coerced, without defaults, secrets wrapped.

    Args:
        slug: of the block type.
        data: from git or from the server; references are `Ref` already.
        fields: of the schema on the server, None where it has none (yet).
    """
    model = settings_of(slug)
    if model is not None:
        made = typed.coerce(model, data)
    else:
        made = foreign.without_defaults(data, fields or {})
    return conceal(made, secret_paths(slug, fields))
