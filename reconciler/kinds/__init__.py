"""One file per resource kind, and the tuple KINDS."""

from reconciler.kinds.automation import Automation
from reconciler.kinds.base import Kind
from reconciler.kinds.block import Block
from reconciler.kinds.block_type import BlockType
from reconciler.kinds.concurrency_limit import ConcurrencyLimit
from reconciler.kinds.deployment import Deployment
from reconciler.kinds.flow import Flow
from reconciler.kinds.variable import Variable
from reconciler.kinds.work_pool import WorkPool
from reconciler.kinds.work_queue import WorkQueue

KINDS: tuple[Kind, ...] = (
    Variable(),
    ConcurrencyLimit(),
    WorkPool(),
    WorkQueue(),
    Flow(),
    BlockType(),
    Block(),
    Deployment(),
    Automation(),
)
"""Every kind, in the order in which live objects are listed: what others refer to comes first."""
