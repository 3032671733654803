"""The disk of the state directory is full, as a log or a database fills it; the service goes on.

What needs no disk still happens: drift is healed, and the last good revision stays in force. A push
waits and says why, and all is made up for once there is room again. The disk is a small tmpfs.
"""

import subprocess
from contextlib import contextmanager

import pytest

from tests.e2e.serving import Serving
from tests.testbed import seed
from tests.testbed.git_http import GitHttpServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NO_ROOM = "No space left on device"


@contextmanager
def small_disk(folder):
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def write_until_full(file, block):
    with file.open("ab", buffering=0) as out:
        while True:
            out.write(block)


@contextmanager
def filled(disk):
    """Fill a disk to the last byte."""
    file = disk / "somebody-elses.log"
    for block in (b"x" * 65536, b"x"):
        with pytest.raises(OSError, match=NO_ROOM):
            write_until_full(file, block)
    yield
    file.unlink()


@pytest.fixture
def serving(server, tmp_path):
    (tmp_path / "served").mkdir()
    with small_disk(tmp_path / "disk") as disk, GitHttpServer(tmp_path / "served") as git:
        bare = tmp_path / "served" / "shop.git"
        with Serving(server, tmp_path, git.url("shop.git"), bare) as made:
            made.disk = disk
            made.env |= {
                "RECONCILER_STATE_DIR": str(disk / "state"),
                "RECONCILER_AGENT_PYTHON": str(server.python),
                "RECONCILER_DRIFT_SECONDS": "3",
                "RECONCILER_POLL_SECONDS": "5",
            }
            yield made


def declare(serving, number):
    serving.declare(NUMBER=str(number))
    serving.declare_noop(f"n{number}")


def of_the_run(serving, run):
    return "".join(line for line in serving.output.splitlines() if f'"run": "{run}"' in line)


def test_drift_is_healed_on_a_full_disk_and_a_push_waits_until_there_is_room(serving):
    declare(serving, 0)
    first = serving.push()
    serving.start()
    serving.in_force(first)
    with filled(serving.disk):
        serving.edit(NUMBER="by hand")
        serving.until(lambda: serving.live == {"NUMBER": "0"})
        declare(serving, 1)
        # As a real change is: more than fits into what is left of a file's last block.
        serving.work.put("notes.txt", "".join(f"{n * n}\n" for n in range(99_999)))
        second = serving.push()
        serving.hook(after=second)
        serving.until(lambda: NO_ROOM in str(serving.status))
        assert serving.status["revision"] == first
        assert serving.live == {"NUMBER": "0"}
        assert serving.http.get("/healthz").status_code == 200
    serving.in_force(second)
    assert serving.live == {"NUMBER": "1"}
    assert NO_ROOM not in str(serving.status)


def test_a_flow_run_that_is_due_on_a_full_disk_is_not_lost_and_runs_once(serving):
    declare(serving, 0)
    head = serving.push()
    serving.start()
    serving.in_force(head)
    with serving.server.client() as client:
        made = seed.request(client, "GET", "/deployments/name/noop/noop")["id"]
        with filled(serving.disk):
            run = seed.flow_run(client, made)["id"]
            serving.until(lambda: NO_ROOM in of_the_run(serving, run))
            assert seed.request(client, "GET", f"/flow_runs/{run}")["state"]["type"] == "SCHEDULED"
        ended = seed.wait_for_state(client, run, seconds=90)
    assert ended["state"]["type"] == "COMPLETED", serving.output
    assert ended["run_count"] == 1
