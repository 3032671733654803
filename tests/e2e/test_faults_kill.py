"""`kill -9` on an apply at every request: the next apply converges, nothing is orphaned or doubled.

Whatever a dead process left on the server depends only on which writes the server has carried out.
So it is killed before every request and after every write, and each state that this leaves is
recovered from once.
"""

import json
import re

import pytest

from reconciler.engine.lease import TTL
from tests.e2e.agreement import age_leases, agreed, at_rest, lease_is_free
from tests.e2e.site import HOURLY, deployment, process
from tests.testbed import seed, warm
from tests.testbed.fault import When
from tests.testbed.thorough import often, places

LATER = {"interval": 7200, "anchor_date": "2024-01-01T00:00:00Z"}
ENOUGH = often(20, 3)
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def declare_new(site):
    """A block that refers to another, both of types that 3.x lacks, and a deployment on it."""
    registry = {"username": "u", "password": "p", "registry_url": "https://example.org"}
    container = {"image": "etl:1", "image_registry": {"$ref": "docker-registry/private"}}
    site.write(
        "new.yaml",
        _block("docker-registry", "private", registry),
        _block("docker-container", "etl", container),
        deployment("new", infrastructure="docker-container/etl", schedules=[HOURLY]),
    )
    return {"block/docker-registry/private", "block/docker-container/etl", "deployment/etl/new"}


def _block(slug, name, data):
    return {"kind": "Block", "block_type_slug": slug, "name": name, "data": data}


def declare_before(site):
    """What an earlier revision held: one pair to change, one to delete."""
    site.write("etl.yaml", process(env={"A": "1"}), deployment(tags=["x"], schedules=[HOURLY]))
    site.write(
        "old.yaml",
        process("old"),
        deployment("old", infrastructure="process/old", schedules=[HOURLY]),
    )


def declare_after(site):
    """Creates, updates and deletes of blocks and of deployments with schedules."""
    site.write("etl.yaml", process(env={"A": "2"}), deployment(tags=["y"], schedules=[LATER]))
    site.remove("old.yaml")
    return {"block/process/etl", "deployment/etl/nightly", *declare_new(site)}


def no_run_doubled(site):
    with site.server.client() as client:
        runs = [r for r in seed.listing(client, "flow_runs") if r["state_type"] == "SCHEDULED"]
    moments = [(run["deployment_id"], run["next_scheduled_start_time"]) for run in runs]
    assert len(moments) == len(set(moments))


def boundaries(site, start):
    """Apply undisturbed; yield each moment at which to kill: number of the request, and when."""
    site.server.reset(start)
    site.apply()
    for number, seen in enumerate(list(site.proxy.requests), 1):
        yield number, When.BEFORE
        if seen.is_write:
            yield number, When.AFTER


def killed(site, number, when):
    """Apply, kill the process at a request, and return the writes that the server carried out.

    None if it did not come to that: requests at the same time may be fewer by one or two.
    """
    site.proxy.kill_at(number, warm.running, when)
    done = site.run("apply", "--yes")
    site.proxy.heal()
    assert done.code in (-9, 0), done
    if done.code == 0:
        return None
    return tuple(sorted(_spelt(seen) for seen in site.proxy.writes if seen.status is not None))


def _spelt(seen):
    name = json.loads(seen.body).get("name") if seen.body else None
    return f"{seen.method} {_ID.sub('*', seen.path)} {name}"


def survives_every_kill(site, keys, start):
    """Kill an apply at every boundary; return the number of different states recovered from."""
    recovered = set()
    moments = list(boundaries(site, start))
    for place in places(1 + len(moments), site.server.major, sorted(keys), part=12):
        number, when = moments[place - 1]
        site.server.reset(start)
        carried_out = killed(site, number, when)
        if carried_out is None or carried_out in recovered:
            continue
        recovered.add(carried_out)
        age_leases(site.server)
        report = site.apply()
        assert report["converged"], (number, when, report)
        agreed(site, keys)
        assert lease_is_free(site) or not report["changes"]  # without changes nobody takes it
        site.settled()
        no_run_doubled(site)
    return len(recovered)


@pytest.mark.slow
def test_killed_at_any_request_of_a_change_the_next_apply_converges(site, tmp_path):
    declare_before(site)
    site.apply()
    keys = declare_after(site)
    assert survives_every_kill(site, keys, site.server.save(tmp_path / "start.db")) > ENOUGH


@pytest.mark.slow
@pytest.mark.parametrize("server", ["3.x"], indirect=True)
def test_killed_at_any_request_of_a_first_apply_the_next_one_converges(site, tmp_path):
    keys = declare_new(site)
    assert survives_every_kill(site, keys, site.server.save(tmp_path / "start.db")) > ENOUGH


def test_killed_as_it_gives_the_lease_back_the_next_change_takes_it_over(site):
    keys = declare_new(site)
    site.proxy.kill_at(1, warm.running, When.BEFORE, path="/block_documents/", method="DELETE")
    assert site.run("apply", "--yes").code == -9
    site.proxy.heal()
    site.settled()
    assert site.apply()["converged"]  # there is nothing to do: that needs no lease
    assert not lease_is_free(site)
    site.write("etl.yaml", process())
    age_leases(site.server)
    assert site.apply()["converged"]
    at_rest(site, keys | {"block/process/etl"})


@pytest.mark.slow
@pytest.mark.parametrize("server", ["3.x"], indirect=True)
def test_the_lease_of_a_killed_apply_is_waited_for_and_taken_over(site):
    """The same without touching the server's clock: the next apply waits until the dead is dead."""
    keys = declare_new(site)
    site.proxy.kill_at(1, warm.running, When.AFTER, path=r"/deployments/$")
    assert site.run("apply", "--yes").code == -9
    site.proxy.heal()
    refused = site.run("apply", "--yes")
    assert refused.code == 1
    assert "is writing shop" in refused.stderr
    assert site.apply("--lock-timeout", f"{2 * TTL:.0f}", timeout=3 * TTL)["converged"]
    at_rest(site, keys)
    site.settled()
