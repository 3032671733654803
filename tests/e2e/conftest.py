"""Fixtures of the tests that use the command line as users do."""

import pytest

from tests.e2e.site import Site
from tests.testbed.cli import Cli
from tests.testbed.git import Repository
from tests.testbed.git_http import GitHttpServer
from tests.testbed.warm import WarmCli


@pytest.fixture
def cli(tmp_path):
    """`reconciler` without any API configured: `cli("validate", folder)`."""
    home = tmp_path / "home"
    home.mkdir()
    return Cli(home, {})


@pytest.fixture
def cli_on(server, tmp_path):
    """`reconciler` with a clean server configured, once on each version."""
    home = tmp_path / "home"
    home.mkdir()
    return Cli(home, server.client_env)


@pytest.fixture
def site(server, proxied, tmp_path):
    """A tree with a policy, a clean server behind a counting proxy, and `reconciler`."""
    folders = [tmp_path / name for name in ("home", "tree")]
    for folder in folders:
        folder.mkdir()
    home, tree = folders
    made = Site(server, proxied, WarmCli(home, {"PREFECT_API_URL": proxied.url}), tree)
    made.policy()
    return made


@pytest.fixture
def repository(site):
    """The tree as a git repository, nothing committed yet."""
    return Repository.create(site.tree)


@pytest.fixture
def git_server(site, repository, tmp_path):
    """Commit the tree, publish it on a git server, and return its URL."""
    bare = tmp_path / "served"
    bare.mkdir()
    with GitHttpServer(bare) as server:

        def publish():
            repository.commit()
            repository.publish(bare / "shop.git")
            return server.url("shop.git")

        yield publish
