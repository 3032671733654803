"""What the wiring makes of settings and policy for the agent."""

import pytest

from reconciler.agent.code import NoCode
from reconciler.app import App
from reconciler.app.agent import (
    AgentListeners,
    agent_options,
    make_agent,
    policy_of,
    secret_prefixes,
)
from reconciler.errors import SourceUnavailable
from reconciler.manifests.load import LoadOptions
from reconciler.settings import load
from tests.fakes.manual_clock import ManualClock
from tests.fakes.prefect_memory import MemoryApi, MemoryPrefect
from tests.fakes.source import ScriptedSource, snapshot_of

pytestmark = pytest.mark.anyio

POLICY = """
name: prod
secrets: [{env: TOP_}, {dir: /run/secrets}]
agent: {limit: 7}
"""


async def policy(text=POLICY):
    return await policy_of(ScriptedSource(snapshot_of({"reconciler.yaml": text})), LoadOptions())


async def test_the_policys_limit_counts_unless_a_setting_says_otherwise():
    for variables, limit in (({}, 7), ({"RECONCILER_AGENT_LIMIT": "2"}, 2)):
        settings = load(variables)
        options = agent_options(settings.agent, settings.connection, policy=await policy())
        assert options.limit == limit


async def test_a_policy_that_can_not_be_read_says_nothing():
    assert await policy("name: [") is None
    away = ScriptedSource(SourceUnavailable("the remote is away"))
    assert await policy_of(away, LoadOptions()) is None
    assert secret_prefixes(None) == ()


def surroundings_of(environ, withheld=tuple, **how):
    app = App(load(environ), environ, ManualClock())
    options = agent_options(app.settings.agent, app.settings.connection, **how)
    listeners = AgentListeners(lambda _: None, lambda _run, _line: None)
    api = MemoryApi(MemoryPrefect())
    agent = make_agent(app, api, options, NoCode(), listeners, withheld)
    return agent._context.launchers["process"]._around


async def test_what_a_policy_calls_secret_later_is_withheld_from_the_next_launch(tmp_path):
    environ = {"TOP_SECRET": "canary", "PATH": "/bin", "RECONCILER_AGENT_STATE_DIR": str(tmp_path)}
    known = []
    inherited = surroundings_of(environ, lambda: secret_prefixes(*known)).inherited
    known.append(None)
    assert "TOP_SECRET" in inherited()
    known[:] = [await policy()]
    assert inherited() == {"PATH": "/bin"}


async def test_launchers_are_told_where_the_platforms_are_and_which_image_fits_the_server(tmp_path):
    around = surroundings_of(
        {
            "RECONCILER_AGENT_STATE_DIR": str(tmp_path),
            "RECONCILER_AGENT_IMAGE_PYTHON_VERSION": "3.12",
            "DOCKER_HOST": "tcp://engine:2376",
            "RECONCILER_KUBECONFIG": "/etc/kubeconfig",
        }
    )
    version = MemoryApi(MemoryPrefect()).facts.version
    assert around.images == f"prefecthq/prefect:{version}-python3.12"
    assert around.platforms.docker_host == "tcp://engine:2376"
    assert around.platforms.kubeconfig == "/etc/kubeconfig"


async def test_a_helper_may_be_made_ahead_with_what_each_flow_run_gets_but_not_for_one_look(
    tmp_path,
):
    url = "http://prefect:4200/api"
    environ = {"RECONCILER_AGENT_STATE_DIR": str(tmp_path), "PREFECT_API_URL": url}
    assert surroundings_of(environ).ahead["PREFECT_API_URL"] == url
    assert surroundings_of(environ, run_once=True).ahead is None
