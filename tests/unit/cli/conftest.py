import os
from types import SimpleNamespace

import pytest

from reconciler.cli.main import run


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user with an empty home, at work in a folder of its own."""
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "RECONCILER_", "FORCE_COLOR", "COLUMNS")):
            monkeypatch.delenv(name)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def reconciler(home, capsys):
    """The command line in this process: `reconciler("validate").code`."""

    def call(*args):
        code = run([str(arg) for arg in args])
        said = capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return call
