"""One file per resource kind, and the tuple KINDS."""

from reconciler.kinds.base import Kind
from reconciler.kinds.block import Block
from reconciler.kinds.deployment import Deployment

KINDS: tuple[Kind, ...] = (Block(), Deployment())
"""Every kind, in the order in which live objects are listed: what others refer to comes first."""
