"""Prefect's flow runs in memory: pools, queues, workers, and the rules of orchestration we rely on.

`PrefectRuns` is the server; `RunsApi` one client of it, with the interface of
`reconciler.api.client.Api`. The rules are those measured on 2.20.26 and 3.8.8
(facts/prefect-api.md, core_policy.py of both).
"""

import copy
import re
import uuid
from datetime import datetime, timedelta

import anyio

from reconciler.errors import AlreadyExists, NotFound, Unreachable
from reconciler.model.server import ServerFacts, Version

POOL = "default-agent-pool"
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
OFFLINE_AFTER = 3


class Killed(BaseException):
    """The agent's process died at this request: nothing catches it."""


class PrefectRuns:
    """The server's memory.

    Attributes:
        runs: flow runs by id; their states are in `states`.
        transitions: every accepted state as (run id, type).
    """

    def __init__(self, clock, major=3):
        self.clock = clock
        self.major = major
        self.runs, self.states = {}, {}
        self.pools, self.queues, self.workers = {}, {}, {}
        self.deployments, self.flows, self.blocks = {}, {}, {}
        self.log = []
        self.down = False
        self.full = False  # a deployment's concurrency limit
        self.forced = []

    # -- what tests set up -------------------------------------------------------------------

    def pool(self, name=POOL, kind="prefect-agent", queues=("default",)):
        self.pools[name] = {"name": name, "type": kind}
        self.queues[name] = list(queues)
        return self

    def block(self, data=None, slug="process"):
        key = str(uuid.uuid4())
        self.blocks[key] = {"id": key, "data": data or {}, "block_type": {"slug": slug}}
        return key

    def deployment(self, **fields):
        key, flow = str(uuid.uuid4()), str(uuid.uuid4())
        self.flows[flow] = {"id": flow, "name": "etl"}
        base = {
            "id": key,
            "name": "nightly",
            "flow_id": flow,
            "updated": "2026-01-01T00:00:00Z",
            "job_variables": {},
        }
        self.deployments[key] = base | fields
        return key

    def schedule(self, deployment=None, due=0.0, queue="default", pool=POOL, **fields):
        """Make a run that is due `due` seconds from now; return its id."""
        deployment = deployment or self.deployment()
        key = str(uuid.uuid4())
        when = self.clock.now() + timedelta(seconds=due)
        self.runs[key] = {
            "id": key,
            "name": f"run-{len(self.runs)}",
            "flow_id": self.deployments[deployment]["flow_id"],
            "deployment_id": deployment,
            "infrastructure_pid": None,
            "work_queue_name": queue,
            "work_pool_name": pool,
            **fields,
        }
        self.states[key] = []
        self._enter(key, {"type": "SCHEDULED", "name": "Scheduled"}, when)
        return key

    def state(self, run_id):
        return self.states[run_id][-1]

    def kind(self, run_id):
        return self.state(run_id)["type"]

    def force(self, run_id, kind, name=None, **details):
        """Put a run into a state as a user of the UI would, or its engine."""
        state = {"type": kind, "name": name or kind.capitalize(), "state_details": details}
        self._enter(run_id, state, None)

    # -- orchestration -----------------------------------------------------------------------

    def _enter(self, run_id, state, due):
        details = dict(state.get("state_details") or {})
        due = due or _time(details.get("scheduled_time"))
        now = self.clock.now() + timedelta(microseconds=len(self.states[run_id]))
        entry = {
            "id": str(uuid.uuid4()),
            "type": state["type"],
            "name": state.get("name") or state["type"].capitalize(),
            "message": state.get("message"),
            "data": state.get("data"),
            "timestamp": now.isoformat(),
            "state_details": details,
        }
        self.states[run_id].append(entry)
        scheduled = due.isoformat() if due and entry["type"] == "SCHEDULED" else None
        self.runs[run_id]["next_scheduled_start_time"] = scheduled
        return entry

    def set_state(self, run_id, body):
        now, new = self.state(run_id), body["state"]
        ours = (new.get("state_details") or {}).get("transition_id")
        if body.get("force"):
            self.forced.append((run_id, new["type"]))
            return self._answer("ACCEPT", self._enter(run_id, new, None))
        if ours and now["state_details"].get("transition_id") == ours:
            return self._answer("REJECT", now, "This run has already made this state transition.")
        refused = self._refusal(now["type"], new["type"])
        if refused:
            return self._answer(refused, now)
        if new["type"] == "PENDING" and self.full:
            later = self.clock.now() + timedelta(seconds=30)
            waiting = {"type": "SCHEDULED", "name": "AwaitingConcurrencySlot"}
            return self._answer("REJECT", self._enter(run_id, waiting, later))
        return self._answer("ACCEPT", self._enter(run_id, new, None))

    @staticmethod
    def _refusal(now, new):
        if now in FINAL and new in {"CRASHED", "CANCELLING", "PAUSED"}:
            return "ABORT"
        if now == "CANCELLING" and new != "CANCELLED":
            return "REJECT"
        if new == "PENDING" and now in {"PENDING", "RUNNING", "CANCELLING", "CANCELLED"}:
            return "ABORT"
        return None

    @staticmethod
    def _answer(status, state, reason=None):
        return {"status": status, "state": state, "details": {"reason": reason}}

    # -- what the routes answer --------------------------------------------------------------

    def view(self, run_id):
        if run_id not in self.runs:
            raise NotFound(f"flow run {run_id}")
        state = self.state(run_id)
        return copy.deepcopy(self.runs[run_id] | {"state": state, "state_type": state["type"]})

    def due(self, pool, body):
        names = body.get("work_queue_names")
        if pool not in self.pools or set(names or ()) - set(self.queues[pool]):
            raise NotFound("queue")
        before = datetime.fromisoformat(body["scheduled_before"])
        found = [
            self.view(key)
            for key, run in self.runs.items()
            if run["work_pool_name"] == pool
            and self.kind(key) == "SCHEDULED"
            and (names is None or run["work_queue_name"] in names)
            and _time(run["next_scheduled_start_time"]) <= before
        ]
        found.sort(key=lambda run: run["next_scheduled_start_time"])
        return [{"flow_run": run} for run in found[: body["limit"]]]

    def listed(self, body):
        state = body["flow_runs"]["state"]
        pool = body["work_pools"]["name"]["any_"][0]
        return [
            self.view(key)
            for key, run in self.runs.items()
            if run["work_pool_name"] == pool
            and (
                self.kind(key) in state["type"]["any_"]
                or self.state(key)["name"] in state["name"]["any_"]
            )
        ]

    def beat(self, pool, body):
        if pool not in self.pools:
            raise NotFound(pool)
        now = self.clock.now()
        worker = self.workers.setdefault(body["name"], {"name": body["name"], "created": now})
        worker["seen"], worker["every"] = now, body["heartbeat_interval_seconds"]

    def worker_list(self):
        limit = [(w, timedelta(seconds=w["every"] * OFFLINE_AFTER)) for w in self.workers.values()]
        return [
            {
                "name": worker["name"],
                "created": worker["created"].isoformat(),
                "last_heartbeat_time": worker["seen"].isoformat(),
                "status": "OFFLINE" if self.clock.now() - worker["seen"] > stale else "ONLINE",
            }
            for worker, stale in limit
        ]


class RunsApi:
    """One agent's client of it.

    Attributes:
        kill_at: number of this client's request at which its process dies; `after` says whether the
            server has done the request by then.
        requests: (method, path) of all that it sent.
    """

    def __init__(self, server, kill_at=None, *, after=False):
        self.server = server
        self.kill_at, self.after = kill_at, after
        self.requests = []
        self.dead = self.strained = False
        self.facts = ServerFacts(Version(server.major, 8, 8), "http://fake/api")
        self.before_request = lambda method, path: None
        self.on_death = lambda: None

    def now(self):
        return self.server.clock.now()

    async def get(self, path, params=None):
        return await self._do("GET", path, params or {})

    async def post(self, path, body=None, *, repeat=None, urgent=False):
        return await self._do("POST", path, body or {})

    async def patch(self, path, body):
        return await self._do("PATCH", path, body)

    async def delete(self, path):
        await self._do("DELETE", path, {})

    async def pages(self, path, body=None, *, size=200):
        found = await self._do("POST", path, body or {})
        if found:
            yield found

    async def _do(self, method, path, body):
        await anyio.lowlevel.checkpoint()
        self._alive()
        self.server.clock.activity += 1
        self.requests.append((method, path))
        dies = len(self.requests) == self.kill_at
        if dies and not self.after:
            self.die()
        if self.server.down:
            raise Unreachable("the API does not answer")
        self.before_request(method, path)
        result = self._route(method, path, body)
        if dies:
            self.die()
        await anyio.lowlevel.checkpoint()
        self._alive()
        return copy.deepcopy(result)

    def die(self):
        self.dead = True
        self.on_death()
        raise Killed

    def _alive(self):
        if self.dead:
            raise Killed

    def _route(self, method, path, body):
        server = self.server
        for pattern, answer in ROUTES:
            found = re.fullmatch(pattern, f"{method} {path}")
            if found:
                return answer(server, body, *found.groups())
        raise AssertionError(f"no route {method} {path}")


def _get(table):
    def answer(server, body, key):
        try:
            return getattr(server, table)[key]
        except KeyError:
            raise NotFound(f"{table} {key}") from None

    return answer


def _make_pool(server, body):
    if body["name"] in server.pools:
        raise AlreadyExists(body["name"])
    server.pool(body["name"], body["type"])


def _make_queue(server, body, pool):
    if body["name"] in server.queues[pool]:
        raise AlreadyExists(body["name"])
    server.queues[pool].append(body["name"])


def _patch_run(server, body, run_id):
    server.view(run_id)
    server.runs[run_id].update(body)


def _set_state(server, body, run_id):
    server.view(run_id)
    return server.set_state(run_id, body)


def _queue_list(server, body, pool):
    if pool not in server.pools:
        raise NotFound(pool)
    return [{"name": name} for name in server.queues[pool]]


def _remove_worker(server, body, pool, name):
    name = name.replace("%20", " ")
    if server.workers.pop(name, None) is None:
        raise NotFound(name)


ROUTES = (
    (r"POST /work_pools/", _make_pool),
    (r"GET /work_pools/([^/]+)", _get("pools")),
    (r"POST /work_pools/([^/]+)/queues", _make_queue),
    (r"POST /work_pools/([^/]+)/queues/filter", _queue_list),
    (r"POST /work_pools/([^/]+)/workers/heartbeat", lambda s, b, pool: s.beat(pool, b)),
    (r"POST /work_pools/([^/]+)/workers/filter", lambda s, b, pool: s.worker_list()),
    (r"DELETE /work_pools/([^/]+)/workers/(.+)", _remove_worker),
    (r"POST /work_pools/([^/]+)/get_scheduled_flow_runs", lambda s, b, pool: s.due(pool, b)),
    (r"POST /flow_runs/filter", lambda s, b: s.listed(b)),
    (r"GET /flow_runs/([^/]+)", lambda s, b, key: s.view(key)),
    (r"PATCH /flow_runs/([^/]+)", _patch_run),
    (r"POST /flow_runs/([^/]+)/set_state", _set_state),
    (r"GET /flow_run_states/", lambda s, b: s.states[b["flow_run_id"]]),
    (r"GET /deployments/([^/]+)", _get("deployments")),
    (r"GET /flows/([^/]+)", _get("flows")),
    (r"GET /block_documents/([^/]+)", _get("blocks")),
)


def _time(text):
    return None if text is None else datetime.fromisoformat(text)
