"""The engine against a server that fails, and against another writer."""

import anyio
import pytest

from reconciler.errors import LeaseHeld
from reconciler.model.report import Result
from tests.integration.reconciling import repository
from tests.testbed import seed
from tests.testbed.fault import Fault, FaultProxy, Rule, When

pytestmark = [pytest.mark.anyio, pytest.mark.prefect]


def manifests(count, tag):
    yield (
        "blocks.yaml",
        "\n---\n".join(
            f"kind: Block\nblock_type_slug: process\nname: b{n}\ndata: {{env: {{TAG: {tag}}}}}"
            for n in range(count)
        ),
    )
    yield (
        "deployments.yaml",
        "\n---\n".join(
            f"kind: Deployment\nflow_name: etl\nname: d{n}\nentrypoint: a.py:f\n"
            f"infrastructure: process/b{n}\ntags: [{tag}]"
            for n in range(count)
        ),
    )


def fill(repo, count, tag):
    for name, text in manifests(count, tag):
        repo.write(name, text)


async def holds(repo, server, count):
    """Server, git and inventory agree."""
    assert (await repo.plan()).empty
    with server.client() as client:
        documents = [d for d in seed.listing(client, "block_documents") if d["name"][0] == "b"]
        found = {d["id"] for d in documents} | {
            d["id"] for d in seed.listing(client, "deployments")
        }
    entries = await repo.entries()
    assert {entry.id for entry in entries.values()} == found
    assert len(found) == 2 * count


@pytest.mark.slow
async def test_a_third_of_all_answers_spoilt_and_the_apply_converges(server, tmp_path):
    with FaultProxy(server.url, seed=7) as proxy:
        async with repository(proxy, tmp_path) as repo:
            proxy.add(
                Rule(Fault.BUSY, share=0.08),
                Rule(Fault.BUSY, When.AFTER, share=0.04),
                Rule(Fault.LIMITED, share=0.05, seconds=0.2),
                Rule(Fault.RESET, share=0.05),
                Rule(Fault.RESET, When.AFTER, share=0.05),
                Rule(Fault.TRUNCATED, share=0.03),
            )
            for tag in ("one", "two"):
                fill(repo, 8, tag)
                report = await repo.apply()
                assert report.error is None
                for outcome in report.outcomes:
                    assert outcome.result is Result.DONE, outcome.error
                assert report.converged
            proxy.heal()
            await holds(repo, server, 8)


async def test_two_applies_at_once_lose_nothing_and_write_nothing_twice(server, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with (
        repository(server, tmp_path / "one") as one,
        repository(server, tmp_path / "two") as two,
    ):
        reports = []
        for repo in (one, two):
            fill(repo, 4, "same")

        async def run(repo):
            reports.append(await repo.apply(lock_timeout=60))

        async with anyio.create_task_group() as group:
            group.start_soon(run, one)
            group.start_soon(run, two)
        assert all(report.converged for report in reports)
        # A busy server refuses some (503, 500), which are looked up and sent again: these don't count.
        made = [call for repo in (one, two) for call in repo.api.answered]
        assert made.count("POST /deployments/") <= 4
        await holds(one, server, 4)


async def test_a_second_writer_is_refused_and_a_dead_one_replaced(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        fill(repo, 1, "one")
        async with repo.lease():
            with pytest.raises(LeaseHeld):
                await repo.apply()
        assert (await repo.apply()).converged
        await holds(repo, server, 1)


async def test_a_lease_stolen_in_the_middle_stops_the_apply(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        fill(repo, 3, "one")
        stolen = []

        async def steal(method, path):
            if (method, path) == ("POST", "/deployments/") and not stolen:
                stolen.append(path)
                await repo.steal()

        repo.api.hook = steal
        report = await repo.apply()
        repo.api.hook = None
        assert report.error is not None
        assert "lost" in report.error
        assert (await repo.apply()).converged
        await holds(repo, server, 3)


async def test_a_confirmed_plan_is_refused_after_a_live_object_moved(server, tmp_path):
    async with repository(server, tmp_path) as repo:
        fill(repo, 1, "one")
        await repo.apply()
        fill(repo, 1, "two")
        digest = (await repo.plan()).digest
        assert (await repo.plan()).digest == digest
        with server.client() as client:
            found = seed.find_deployment(client, "d0")
            seed.request(client, "PATCH", f"/deployments/{found['id']}", {"tags": ["hand"]})
        assert (await repo.plan()).digest != digest
