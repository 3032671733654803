"""What a deployment belongs to, its flow and its work pool, made or found before it is written.

Of many deployments written at the same time, the first asks, and the others take its answer.
"""

from functools import partial

from reconciler.api import deployments, pools
from reconciler.api.client import Api
from reconciler.errors import NotFound
from reconciler.kinds.base import Session
from reconciler.model.deployment_fields import DEFAULT_POOL
from reconciler.model.values import Value


async def flow_id_of(session: Session, name: str) -> str:
    """Return a flow's id; it is made if needed."""
    return await session.once(("flow", name), partial(deployments.ensure_flow, session.api, name))


async def ensure_pool(session: Session, pool: Value) -> None:
    """Make the default agent pool where a fresh server has none; any other must be there.

    Without that pool, servers take a queue of the name from any pool, or answer a PATCH with 500
    (Prefect 2.20.26, 3.8.8: tried).

    Args:
        session: of the reconciliation.
        pool: its name, if the deployment has one.

    Raises:
        NotFound: there is no such pool.
    """
    if isinstance(pool, str):
        await session.once(("pool", pool), partial(_make_pool, session.api, pool))


async def _make_pool(api: Api, pool: str) -> None:
    if await pools.pool_type(api, pool) is not None:
        return
    if pool != DEFAULT_POOL:
        raise NotFound(f"there is no work pool {pool}", hint="create it, or mend work_pool_name")
    await pools.create_agent_pool(api, pool)
