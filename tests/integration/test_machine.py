"""Git edits, hand edits and faults in any order: whatever happens, the next whole apply converges.

A state machine that Hypothesis drives against a real server. Its model is what git declares; beside
it live objects of somebody else. After each apply that was left alone these hold (DESIGN 6):

    the server has what git declares, field by field, and nothing that git took back
    nothing of others was touched, whatever happened on the way
    the inventory names just what is ours, by id
    the next plan is empty
    what a narrow look was about has git's value
    no secret stands in a plan, a report or an inventory
"""

import json
import shutil
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import yaml
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.integration.reconciling import release, repository
from tests.testbed import seed
from tests.testbed.fault import Fault, FaultProxy, Rule, When
from tests.testbed.thorough import often

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.timeout(7200)]

CANARY = "canary-7d1e0b"
NAMES = st.sampled_from(["a", "b", "c", "d"])
KINDS = st.sampled_from(["variable", "block", "deployment"])
VALUES = st.integers(1, 3)
POLICY = {
    "name": "prod",
    "secrets": [{"env": "RECONCILER_SECRET_"}],
    "prune": {"max_deletes": 100, "max_share": "100%"},
}
FAULTS = {
    "busy": Rule(Fault.BUSY, share=0.2),
    "busy after its work": Rule(Fault.BUSY, When.AFTER, share=0.1),
    "limited": Rule(Fault.LIMITED, share=0.1, seconds=0.1),
    "reset": Rule(Fault.RESET, share=0.15),
    "reset after its work": Rule(Fault.RESET, When.AFTER, share=0.15),
    "truncated": Rule(Fault.TRUNCATED, share=0.15),
}


def document(kind, name, value):
    if kind == "variable":
        return {"kind": "Variable", "name": name, "value": f"v{value}"}
    if kind == "block":
        data = {"env": {"V": f"v{value}", "TOKEN": "${{ secrets.TOKEN }}"}}
        return {"kind": "Block", "block_type_slug": "process", "name": name, "data": data}
    return {
        "kind": "Deployment",
        "flow_name": "etl",
        "name": name,
        "entrypoint": "a.py:f",
        "tags": [f"v{value}"],
        "schedules": [{"interval": 3600 * value}],
    }


class Live:
    """What the server holds, by plain requests."""

    def __init__(self, client):
        self.client = client

    def objects(self):
        """Return id and value of every object that is not the reconciler's own, by kind and name."""
        found = {}
        for one in seed.listing(self.client, "variables"):
            found["variable", one["name"]] = one["id"], one["value"]
        for one in seed.listing(self.client, "deployments"):
            found["deployment", one["name"]] = one["id"], "".join(one["tags"])
        only = {"block_types": {"slug": {"any_": ["process"]}}}
        for one in seed.listing(self.client, "block_documents", **only):
            found["block", one["name"]] = one["id"], (one["data"].get("env") or {}).get("V")
        return found

    def change(self, kind, id_, value):
        """Do as a person in Prefect's pages."""
        if kind == "variable":
            seed.request(self.client, "PATCH", f"/variables/{id_}", {"value": value})
        elif kind == "deployment":
            seed.request(self.client, "PATCH", f"/deployments/{id_}", {"tags": [value]})
        else:
            body = {"data": {"type": "process", "env": {"V": value}}, "merge_existing_data": False}
            seed.request(self.client, "PATCH", f"/block_documents/{id_}", body)

    def delete(self, kind, id_):
        """Do as a person in Prefect's pages."""
        path = {"block": "block_documents"}.get(kind, f"{kind}s")
        seed.request(self.client, "DELETE", f"/{path}/{id_}")


def machine_of(server):
    """Return the machine's class for a server."""

    class Machine(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.git = {}
            self.known = None
            self.stack = ExitStack()
            self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
            self.stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            server.reset()
            self.live = Live(self.stack.enter_context(server.client()))
            self.proxy = self.stack.enter_context(FaultProxy(server.url))
            self.portal = self.stack.enter_context(start_blocking_portal())
            made = self.portal.wrap_async_context_manager(repository(self.proxy, self.folder))
            self.repo = self.stack.enter_context(made)
            self.repo.secrets = {"RECONCILER_SECRET_TOKEN": CANARY}
            self.repo.write("reconciler.yaml", yaml.safe_dump(POLICY))

        def teardown(self):
            self.stack.close()

        @initialize()
        def others_live_beside(self):
            seed.request(self.live.client, "POST", "/variables/", {"name": "o", "value": "theirs"})
            seed.deployment(self.live.client, "o", tags=["theirs"])
            self.apply()  # registers the block type, with nothing declared
            self.others = self.live.objects()

        @rule(kind=KINDS, name=NAMES, value=VALUES)
        def git_declares(self, kind, name, value):
            self.git[kind, name] = f"v{value}"
            text = yaml.safe_dump(document(kind, name, value))
            self.repo.write(f"{kind}-{name}.yaml", text)

        @rule(kind=KINDS, name=NAMES)
        def git_takes_back(self, kind, name):
            if self.git.pop((kind, name), None):
                self.repo.remove(f"{kind}-{name}.yaml")

        @rule(kind=KINDS, name=NAMES, delete=st.booleans())
        def somebody_changes_it_by_hand(self, kind, name, delete):
            found = self.live.objects().get((kind, name))
            if found and delete:
                self.live.delete(kind, found[0])
            elif found:
                self.live.change(kind, found[0], "by hand")

        @rule(number=st.integers(1, 40), before=st.booleans())
        def it_is_killed_while_it_applies(self, number, before):
            killed = partial(self.repo.killed_at, number, before=before, allow_deletes=100)
            self.portal.call(killed)
            release(self.live.client)

        @rule(fault=st.sampled_from(sorted(FAULTS)))
        def the_server_fails_while_it_applies(self, fault):
            self.proxy.add(FAULTS[fault])
            try:
                report = self.portal.call(self.applied)
                assert CANARY not in json.dumps(report.to_json())
            finally:
                self.proxy.heal()
            release(self.live.client)

        @rule()
        def it_applies(self):
            self.apply()

        @rule(fault=st.none() | st.sampled_from(sorted(FAULTS)))
        def it_looks_only_at_what_git_touched(self, fault):
            known, self.known = self.known, None
            if known is None:
                return
            if fault is not None:
                self.proxy.add(FAULTS[fault])
            try:
                done = self.portal.call(partial(self.repo.touched, known, allow_deletes=100))
            finally:
                self.proxy.heal()
            if done is None or not done[0].converged:
                release(self.live.client)
                return
            report, self.known = done
            found = self.live.objects()
            for key in report.plan.scope:
                assert found[key.kind, key.name][1] == self.git[key.kind, key.name], str(key)
            assert CANARY not in json.dumps(report.to_json())

        @invariant()
        def nothing_of_others_was_touched(self):
            if hasattr(self, "others"):
                now = self.live.objects()
                assert {key: now.get(key) for key in self.others} == self.others

        async def applied(self):
            report, self.known = await self.repo.applied(allow_deletes=100)
            return report

        def apply(self):
            report = self.portal.call(self.applied)
            assert report.converged, report.to_json()
            found = self.live.objects()
            ours = {k: v for k, v in found.items() if k not in getattr(self, "others", found)}
            assert {key: value for key, (_, value) in ours.items()} == self.git
            entries = self.portal.call(self.repo.entries)
            assert {e.id for e in entries.values()} == {id_ for id_, _ in ours.values()}
            plan = self.portal.call(self.repo.plan)
            assert plan.empty, plan.to_json()
            only = {"block_types": {"slug": {"any_": ["reconciler-inventory"]}}}
            kept = seed.listing(self.live.client, "block_documents", **only)
            for text in (report.to_json(), plan.to_json(), kept):
                assert CANARY not in json.dumps(text)

    return Machine


def test_whatever_happens_the_next_whole_apply_converges(server):
    how = settings(
        max_examples=often(60, 6),
        stateful_step_count=often(40, 25),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(machine_of(server), settings=how)
