"""What scripts rely on: exit codes, streams, no escape codes in pipes, and the rarer commands."""

import os
import pty
import subprocess

import pytest

from tests.e2e.site import HOURLY, actions, change, deployment, process
from tests.testbed import seed
from tests.testbed.cli import COMMAND
from tests.testbed.fault import Fault, Rule, When

ESCAPE = "\x1b"
one_version = pytest.mark.parametrize("server", ["3.x"], indirect=True)


@pytest.fixture
def shop(site):
    site.write("base.yaml", process())
    site.write("etl.yaml", deployment(schedules=[HOURLY]))
    return site


@one_version
def test_exit_codes(shop):
    def code(*args, **more):
        return shop.run(*args, **more).code

    assert code("plan") == 0
    assert code("plan", "--detailed-exitcode") == 2
    assert code("apply", "--yes", "--detailed-exitcode") == 2
    assert code("plan", "--detailed-exitcode") == 0
    assert code("drift", "--detailed-exitcode") == 0
    assert code("apply", "--yes", "--detailed-exitcode") == 0
    assert code("validate") == 0

    # A hold is a difference; whoever did not ask for details gets 0.
    shop.patch_deployment("nightly", tags=["x"])
    shop.write("etl.yaml", deployment(tags=[], reconcile={"drift": "report"}))
    assert code("apply", "--yes", "--detailed-exitcode") == 2
    assert code("apply", "--yes") == 0

    # Failure wins over difference, and one failure is enough.
    shop.write("base.yaml", process(env={"A": "1"}), process("new"))
    shop.proxy.add(Rule(Fault.BUSY, method="PATCH", path=shop.block("process", "etl")["id"]))
    done = shop.run(
        "apply",
        "--yes",
        "--detailed-exitcode",
        "--format",
        "json",
        env={"RECONCILER_API_DEADLINE_SECONDS": "5"},
    )
    outcomes = {found["key"]: found["outcome"] for found in done.json()["changes"]}
    assert done.code == 1
    assert outcomes["block/process/etl"] == "failed"
    assert outcomes["block/process/new"] == "done"
    assert done.json()["converged"] is False
    shop.proxy.heal()

    away = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "RECONCILER_API_DEADLINE_SECONDS": "1"}
    assert code("plan", env=away) == 1


@one_version
def test_wrong_usage_is_64_and_says_what_is_right(shop):
    for args, said in (
        (["plan", "--no-such"], "--no-such"),
        (["pln"], "pln"),
        (["plan", "--format", "yaml"], "'yaml'"),
        (["plan", "--ref", "main", shop.tree], "--repo"),
        (["plan", "--repo", "file:///nowhere", shop.tree], "exclude each other"),
        (["apply", "--allow-deletes", "-1", shop.tree], "--allow-deletes"),
        (["apply", "--plan", shop.tree / "base.yaml"], "no saved plan"),
    ):
        done = shop.cli(*args)
        assert done.code == 64, done
        assert done.stdout == ""
        assert said in done.stderr
    assert shop.proxy.requests == []


@one_version
def test_off_a_terminal_apply_needs_yes(shop):
    for typed in (None, "yes\n"):
        done = shop.run("apply", typed=typed)
        assert (done.code, shop.proxy.requests) == (64, [])
        assert "--yes" in done.stderr
    assert shop.owned() == []


@one_version
def test_json_has_stdout_for_itself_and_no_pipe_gets_escape_codes(shop):
    for args in (
        ["plan", "--format", "json", "-vv"],
        ["apply", "--yes", "--format", "json", "-vv"],
        ["drift", "--format", "json", "-vv"],
        ["validate", "--format", "json", "-vv"],
    ):
        done = shop.run(*args)
        assert done.json(), args
        assert ESCAPE not in done.output
    shop.write("etl.yaml", deployment(tags=["x"]))
    for form in ("text", "markdown", "html"):
        done = shop.run("plan", "--format", form)
        assert "deployment/etl/nightly" in done.stdout
        assert (done.stderr, ESCAPE in done.stdout) == ("", False)
    assert ESCAPE not in shop.run("apply", "--yes").output

    shop.write("broken.yaml", {**process("x"), "dta": {}})
    done = shop.run("validate", "--format", "json")
    assert done.code == 1
    (problem,) = done.json()["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == ("broken.yaml", 5, 1)
    done = shop.run("plan", "--format", "json")
    assert (done.code, done.stdout) == (1, "")
    assert "broken.yaml:5:1" in done.stderr
    assert ESCAPE not in done.stderr


def on_terminal(cli, *args, **env):
    """Run a command on a terminal and return what it shows there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, args)],
        env={**cli.environment(), "TERM": "xterm-256color", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=cli.home,
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # how a terminal says that nobody writes to it any more
        pass
    finally:
        os.close(ours)
    process.wait(60)
    return shown.decode()


def test_a_terminal_gets_colours_but_not_with_no_color(cli, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "reconciler.yaml").write_text("name: shop\n")
    (tree / "a.yaml").write_text("kind: Block\nblock_type_slug: process\nnme: etl\n")
    coloured = on_terminal(cli, "validate", tree)
    plain = on_terminal(cli, "validate", tree, NO_COLOR="1")
    assert f"{ESCAPE}[31m" in coloured
    assert "a.yaml:3:1:" in plain
    assert ESCAPE not in plain


def test_forget_drops_from_the_inventory_and_deletes_nothing(shop):
    shop.apply()
    before = shop.objects()
    unknown = shop.cli("forget", "block/process/elt", shop.tree)
    assert unknown.code == 64
    assert "does not own block/process/elt" in unknown.stderr
    assert "block/process/etl" in unknown.stderr  # did you mean

    done = shop.cli("forget", "deployment/etl/nightly", shop.tree)
    assert done.code == 0
    assert shop.owned() == ["block/process/etl"]
    assert shop.objects() == before
    # Still declared, it would be adopted again; with its file gone it is nobody's any more.
    assert actions(shop.plan()) == {"deployment/etl/nightly": "adopt"}
    shop.remove("etl.yaml")
    shop.settled()


def test_unlock_frees_a_dead_writers_lease_and_no_living_ones(shop):
    shop.apply()
    shop.write("etl.yaml", deployment(tags=["x"]))
    with shop.cli.start("apply", "--yes", shop.tree) as writer:
        path = f"/deployments/{shop.deployment('nightly')['id']}"
        shop.proxy.add(Rule(Fault.RESET, When.BEFORE, "PATCH", path, action=writer.kill))
        seed.wait_until(lambda: writer.code is not None, seconds=120)
    shop.proxy.heal()
    (lease,) = leases(shop)

    living = shop.run("unlock")
    assert living.code == 1
    assert "is writing shop" in living.stderr
    waiting = shop.run("apply", "--yes")
    assert waiting.code == 1
    assert "--lock-timeout" in waiting.stderr
    assert leases(shop) == [lease]

    data = {**lease["data"], "ttl": 0.1}  # as if it had died long ago
    shop.patch(f"/block_documents/{lease['id']}", data=data, merge_existing_data=False)
    freed = seed.wait_until(lambda: unlocked(shop))
    assert lease["data"]["holder"] in freed.stderr
    assert leases(shop) == []
    assert "Nobody holds the lease" in shop.run("unlock").stderr
    assert shop.apply()["converged"]
    shop.settled()


def unlocked(site):
    """Free the lease, if it counts as dead by now: the server's clock shows whole seconds."""
    done = site.run("unlock")
    return done if done.code == 0 else None


def leases(site):
    return [doc for doc in site.records() if doc["block_type"]["slug"] == "reconciler-lease"]


def test_destroy_deletes_all_that_the_inventory_owns_and_nothing_else(shop):
    shop.write("kept.yaml", {**process("kept"), "reconcile": {"prune": False}})
    shop.apply()
    with shop.server.client() as client:
        strangers = {
            seed.block(client, "process", "by-hand", {})["id"],
            seed.deployment(client, "by-hand")["id"],
        }
    before = shop.objects()
    unconfirmed = shop.run("destroy", typed="shop\n")
    assert unconfirmed.code == 64
    assert "--confirm shop" in unconfirmed.stderr
    wrong = shop.run("destroy", "--confirm", "shp")
    assert wrong.code == 1
    assert "the inventory is called shop" in wrong.stderr
    assert (shop.objects(), shop.proxy.writes) == (before, [])

    # What must go works with manifests that are broken, too.
    shop.write("broken.yaml", "kind: [\n")
    done = shop.run("destroy", "--confirm", "shop", "--format", "json")
    assert done.code == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert set(actions(done.json()).values()) == {"delete"}
    assert change(done.json(), "block/process/kept")["outcome"] == "done"
    assert shop.objects().keys() == strangers
    assert shop.owned() == []
    assert leases(shop) == []
    assert shop.run("destroy", "--confirm", "shop").code == 0
