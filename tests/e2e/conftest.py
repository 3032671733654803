"""Fixtures of the tests that use the command line as users do."""

import pytest

from tests.testbed.cli import Cli


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
