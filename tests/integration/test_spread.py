"""An inventory that grows is spread over sixteen documents, on both servers, whenever it is killed."""

import pytest

from reconciler.model.inventory import FEW, SHARDS
from tests.integration.reconciling import Killed, died, release, repository
from tests.testbed import seed

pytestmark = [pytest.mark.anyio, pytest.mark.prefect]

MARK, CUT = 2, SHARDS + 2
"""Writes of block documents: the lease, the first document marked, fifteen others, the first one cut."""


def declare(repo, count):
    documents = (f"kind: Variable\nname: v{number}\nvalue: a\n" for number in range(count))
    repo.write("variables.yaml", "---\n".join(documents))


def documents(server):
    with server.client() as client:
        body = {"block_types": {"slug": {"any_": ["reconciler-inventory"]}}}
        return seed.listing(client, "block_documents", **body)


async def killed_at(repo, place):
    """Die before a write of a block document, and be silent from then on."""
    seen = []

    async def hook(method, path):
        if (
            method in ("POST", "PATCH")
            and path.startswith("/block_documents/")
            and (not path.endswith("/filter"))
        ):
            seen.append(path)
            if len(seen) == place:
                repo.api.die_at = 1
                raise Killed

    repo.api.hook = hook
    with pytest.raises((Killed, BaseExceptionGroup)) as raised:
        await repo.apply()
    assert died(raised.value)
    repo.api.hook, repo.api.die_at = None, 0


@pytest.mark.parametrize("place", [None, MARK, MARK + 9, CUT])
async def test_an_inventory_killed_while_it_is_spread_loses_nothing(server, tmp_path, place):
    async with repository(server, tmp_path) as repo:
        declare(repo, FEW - 5)
        assert (await repo.apply()).converged
        assert len(documents(server)) == 1
        declare(repo, FEW + 5)
        if place is not None:
            await killed_at(repo, place)
            assert len(await repo.entries()) >= FEW - 5
            with server.client() as client:
                release(client)
        assert (await repo.apply()).converged
        assert len(documents(server)) == SHARDS
        assert len(await repo.entries()) == FEW + 5
        assert (await repo.apply()).plan.empty
