"""A Prefect server on PostgreSQL, whose database crashes while it is written to."""

import anyio
import anyio.to_thread
import pytest

from reconciler.errors import Transient
from tests.integration.reconciling import release, repository
from tests.integration.test_engine_faults import fill, holds
from tests.testbed.postgres import Postgres
from tests.testbed.prefect import LABELS, PrefectServer
from tests.testbed.thorough import often

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.prefect,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.parametrize("major", list(LABELS.values()), ids=list(LABELS)),
]
COUNT = 8


@pytest.fixture
def database():
    with Postgres() as made:
        yield made


async def tried(repo):
    """Apply once, as the service does: what passes by itself is tried again at the next turn."""
    try:
        return await repo.apply(lock_timeout=60)
    except Transient:
        return None


async def test_the_database_crashes_during_applies_and_what_holds_at_the_end_is_what_git_says(
    database, major, tmp_path
):
    env = {
        "PREFECT_API_DATABASE_CONNECTION_URL": database.url,
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "true",
    }
    with PrefectServer(major, env=env) as server:
        async with repository(server, tmp_path) as repo:
            ended, crashes = anyio.Event(), []  # one for each

            async def crash_now_and_then():
                while not ended.is_set():
                    with anyio.move_on_after(1.5):
                        await ended.wait()
                        return
                    await anyio.to_thread.run_sync(database.crash_and_restart)
                    crashes.append(1)

            async with anyio.create_task_group() as group:
                group.start_soon(crash_now_and_then)
                while len(crashes) < often(12, 2):
                    fill(repo, COUNT, f"t{len(repo.api.calls)}")
                    report = await tried(repo)
                ended.set()
            for _ in range(3):  # the last crash may still be felt
                if report is not None and report.converged:
                    break
                with server.client() as client:
                    release(client)
                report = await tried(repo)
            assert report is not None
            assert report.converged, report.to_json()
            await holds(repo, server, COUNT)
