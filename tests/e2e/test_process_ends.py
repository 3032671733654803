"""What happens at the edge of the process, in real processes."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from reconciler.cli import faults
from reconciler.cli import saved as plans
from reconciler.errors import UsageError


def run(tmp_path, *args, stdout=subprocess.PIPE, **env):
    (tmp_path / "reconciler.yaml").write_text("name: shop\n")
    (tmp_path / "ü→😀.yaml").write_text("kind: Blok\n")
    return subprocess.run(
        [sys.executable, "-m", "reconciler", *args],
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, **env},
        check=False,
    )


def test_every_text_can_be_written_whatever_the_locale(tmp_path):
    done = run(tmp_path, "validate", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (1, b"")
    assert "ü→😀.yaml" in done.stdout.decode()


def test_a_full_disk_is_said_in_a_line(tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = run(tmp_path, "validate", stdout=full)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == ["Error: No space left on device"]


def test_a_fault_of_our_own_names_its_place_and_quotes_nothing(capsys):
    with pytest.raises(AttributeError) as caught:
        plans.save("s3cr3t", None, None, None)
    faults.explain_fault(caught.value)
    said = capsys.readouterr().err
    assert "cli/saved.py:" in said
    assert "s3cr3t" not in said
    faults.explain_fault(ValueError("s3cr3t"))
    assert "an unknown place" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("ignored", ["", "trap '' INT; "], ids=["terminal", "background job"])
def test_a_stopped_command_ends_tidily(tmp_path, number, ignored):
    (tmp_path / "reconciler.yaml").write_text("name: shop\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        process = subprocess.Popen(
            ["sh", "-c", f'{ignored}exec "$0" -m reconciler plan', sys.executable],
            cwd=tmp_path,
            env={**os.environ, "PREFECT_API_URL": url},
            stderr=subprocess.PIPE,
        )
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            process.send_signal(number)
            try:
                _, said = process.communicate(timeout=60)
            finally:
                process.kill()
    assert process.returncode == 130
    assert said.decode().split() == ["Interrupted."]


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        json.dumps({"digest": "x", "made_with": {"location": {"path": 3}, "wishes": {}}}),
        json.dumps({"digest": "x", "made_with": {"location": {}, "wishes": {"targets": 5}}}),
        json.dumps({"digest": 3, "made_with": {"location": {}, "wishes": {}}}),
    ],
)
def test_a_file_of_another_shape_is_no_saved_plan(tmp_path, content):
    file = tmp_path / "plan.json"
    file.write_text(content)
    with pytest.raises(UsageError, match="no saved plan"):
        plans.load(file)
