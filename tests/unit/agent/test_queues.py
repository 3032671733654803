"""Which queues are served, and whose runs those are."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.agent.tokens import claimant, is_token, new_token
from reconciler.errors import UsageError
from tests.fakes.agents import world

anyio_test = pytest.mark.anyio


async def executed(tmp_path, existing, *, seconds=6, **options):
    async with world(tmp_path) as w:
        w.server.queues["default-agent-pool"] = list(existing)
        runs = {w.server.schedule(queue=name): name for name in existing}
        w.agent(**options)
        await w.pass_time(seconds)
        return {runs[run] for run in w.host.executions}


@anyio_test
async def test_without_a_choice_all_queues_of_the_pool_are_served(tmp_path):
    assert await executed(tmp_path, ["a", "b"]) == {"a", "b"}


@anyio_test
async def test_named_queues_are_served(tmp_path):
    assert await executed(tmp_path, ["a", "b"], queues=("b",)) == {"b"}


@anyio_test
async def test_queues_are_served_by_prefix(tmp_path):
    assert await executed(tmp_path, ["dev-1", "dev-2", "x"], match=("dev-",)) == {"dev-1", "dev-2"}


@anyio_test
async def test_queues_that_the_repository_declares_are_served(tmp_path):
    declared = {"declared": lambda: ("a", "later")}
    assert await executed(tmp_path, ["a", "b"], **declared) == {"a"}
    assert await executed(tmp_path, ["a"], declared=tuple) == set()


@anyio_test
async def test_a_named_queue_that_is_missing_is_created(tmp_path):
    async with world(tmp_path) as w:
        w.agent(queues=("new", "default"))
        await w.pass_time(4)
        assert w.server.queues["default-agent-pool"] == ["default", "new"]


@anyio_test
async def test_a_queue_deleted_meanwhile_is_created_again(tmp_path):
    async with world(tmp_path) as w:
        w.agent(queues=("mine",))
        await w.pass_time(4)
        w.server.queues["default-agent-pool"].remove("mine")
        await w.pass_time(8)
        assert "mine" in w.server.queues["default-agent-pool"]


@anyio_test
async def test_a_fresh_server_gets_its_agent_pool_even_in_the_middle(tmp_path):
    async with world(tmp_path) as w:
        w.server.pools.clear()
        agent = w.agent()
        await w.pass_time(4)
        assert w.server.pools["default-agent-pool"]["type"] == "prefect-agent"
        w.server.pools.clear()
        await w.pass_time(15)
        assert "default-agent-pool" in w.server.pools
        assert agent.error is None


@anyio_test
async def test_a_pool_of_workers_is_refused_with_what_to_do(tmp_path):
    async with world(tmp_path) as w:
        w.server.pool("kube", "kubernetes")
        agent = w.agent(pool="kube")
        await w.pass_time(1)
        assert isinstance(agent.error, UsageError) or "kubernetes" in str(agent.error)
        assert "prefect worker start" in agent.error.hint


@anyio_test
async def test_an_abandoned_run_of_a_queue_that_nobody_here_serves_goes_back(tmp_path):
    async with world(tmp_path) as w:
        w.server.queues["default-agent-pool"] = ["a", "b"]
        run = w.server.schedule(queue="b")
        w.agent(steps={"kill_before": "create"})
        await w.pass_time(4)
        w.agent(queues=("a",))
        await w.pass_time(6)
        assert w.server.kind(run) == "SCHEDULED"


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_token_names_its_claimant_and_nobody_else(mine, other):
    token = new_token(mine)
    assert is_token(token)
    assert uuid.UUID(token).variant == uuid.RFC_4122
    assert claimant(token, [mine]) == mine
    assert claimant(token, [other]) == (mine if mine == other else None)
    assert new_token(mine) != token


def test_ids_of_other_programs_are_no_tokens():
    assert not is_token(None)
    assert not is_token(str(uuid.uuid4()))
