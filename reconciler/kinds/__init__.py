"""One file per resource kind, and the tuple KINDS."""

from reconciler.kinds.base import Kind
from reconciler.kinds.block import Block

KINDS: tuple[Kind, ...] = (Block(),)
"""Every kind, in the order in which live objects are listed: what others refer to comes first."""
