"""Cloud Run's Admin API v2 on this machine, with Google's token service and Cloud Logging beside it.

with CloudRun(engine) as cloud:
    ... cloud.url, cloud.key() ...

It follows the documentation of the API (googleapis.com, run_v2) where a launcher depends on it:
operations, `etag`s, conditions, references to executions, results of tasks. Each execution is a
container of a Docker engine.
"""

import itertools
import threading
import uuid
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.testbed.containers import NoImage, Work
from tests.testbed.dockerd import Dockerd
from tests.testbed.http_api import HttpApi, Reply, Request

PROJECT, REGION = "test-project", "europe-west1"
_TOKEN = "ya29.test"
_PARENT = r"/v2/(?P<parent>projects/[^/]+/locations/[^/]+)"
_JOB = r"/v2/(?P<job>projects/[^/]+/locations/[^/]+/jobs/[^/:]+)"
_EXECUTION = r"/v2/(?P<execution>projects/[^/]+/locations/[^/]+/jobs/[^/]+/executions/[^/:]+)"


class CloudRun:
    """See the module's text.

    Attributes:
        api: the server; `api.requests` and `api.before` are for tests.
        jobs: by name, as JSON.
        executions: by name, as JSON.
    """

    def __init__(self, engine: Dockerd) -> None:
        self._engine = engine
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._work: dict[str, Work] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.executions: dict[str, dict[str, Any]] = {}
        self.api = HttpApi(
            [
                ("POST", "/token", self._token),
                ("POST", "/v2/entries:list", self._entries),
                ("POST", f"{_PARENT}/jobs", self._create),
                ("GET", f"{_PARENT}/jobs", self._list),
                ("GET", _JOB, self._get),
                ("PATCH", _JOB, self._update),
                ("DELETE", _JOB, self._delete),
                ("POST", f"{_JOB}:run", self._run),
                ("GET", f"{_JOB}/executions", self._list_executions),
                ("GET", _EXECUTION, self._get_execution),
                ("POST", f"{_EXECUTION}:cancel", self._cancel),
                ("GET", f"{_EXECUTION}/tasks", self._tasks),
            ]
        )
        self.url = self.api.url

    def __enter__(self) -> Self:
        key = rsa.generate_private_key(65537, 2048)
        self._key = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
        self.api.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        self.api.__exit__()

    def key(self) -> dict[str, str]:
        """Return the key of a service account whose tokens are issued here."""
        return {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "1",
            "private_key": self._key,
            "client_email": f"agent@{PROJECT}.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"{self.url}/token",
        }

    def clear(self) -> None:
        """Forget all jobs, and end their containers."""
        with self._lock:
            work = list(self._work.values())
            self.jobs.clear()
            self.executions.clear()
            self._work.clear()
        for one in work:
            one.stop(0)

    def _token(self, _: Request) -> Reply:
        return Reply(body={"access_token": _TOKEN, "expires_in": 3600, "token_type": "Bearer"})

    def _create(self, request: Request) -> Reply:
        name = f"{request.parts['parent']}/jobs/{request.query['jobId']}"
        with self._lock:
            if name in self.jobs:
                return _error(409, "ALREADY_EXISTS", f"Resource '{name}' already exists.")
            job = {**request.body, "name": name, "uid": str(uuid.uuid4()), "createTime": _now()}
            image = job["template"]["template"]["containers"][0]["image"]
            job["terminalCondition"] = self._condition(image)
            self.jobs[name] = self._stamped(job)
        return self._operation(job)

    def _condition(self, image: str) -> dict[str, str]:
        if image == "never:1" or self._engine.has_image(image):
            return {"type": "Ready", "state": "CONDITION_SUCCEEDED"}
        text = f"Image '{image}' not found."
        return {"type": "Ready", "state": "CONDITION_FAILED", "message": text}

    def _list(self, request: Request) -> Reply:
        with self._lock:
            mine = [
                deepcopy(job)
                for name, job in self.jobs.items()
                if name.startswith(f"{request.parts['parent']}/jobs/")
            ]
        return Reply(body={"jobs": mine})

    def _get(self, request: Request) -> Reply:
        return self._found(self.jobs, request.parts["job"])

    def _update(self, request: Request) -> Reply:
        name = request.parts["job"]
        with self._lock:
            if name not in self.jobs:
                return _missing(name)
            if request.body.get("etag") not in {None, self.jobs[name]["etag"]}:
                return _error(409, "ABORTED", "Conflict for resource: version mismatch.")
            changed = {**self.jobs[name], "annotations": request.body.get("annotations", {})}
            self.jobs[name] = self._stamped(changed)
            return self._operation(changed)

    def _delete(self, request: Request) -> Reply:
        name = request.parts["job"]
        with self._lock:
            job = self.jobs.pop(name, None)
            if job is None:
                return _missing(name)
            gone = [one for one in self.executions if one.startswith(f"{name}/")]
            work = [self._work.pop(one) for one in gone if one in self._work]
            for one in gone:
                del self.executions[one]
        for one in work:
            one.stop()
        return self._operation(job)

    def _run(self, request: Request) -> Reply:
        name = request.parts["job"]
        with self._lock:
            job = self.jobs.get(name)
            if job is None:
                return _missing(name)
            if request.body.get("etag") not in {None, "", job["etag"]}:
                return _error(409, "ABORTED", "Conflict for resource: version mismatch.")
            execution = f"{name}/executions/{name.rpartition('/')[2][:20]}-{next(self._numbers)}"
            made = {"name": execution, "uid": str(uuid.uuid4()), "createTime": _now()}
            self.executions[execution] = {**made, "job": name, "taskCount": 1, "conditions": []}
            reference = {"name": execution, "createTime": _now()}
            job["latestCreatedExecution"] = {**reference, "completionStatus": "EXECUTION_PENDING"}
            job["executionCount"] = job.get("executionCount", 0) + 1
            container = job["template"]["template"]["containers"][0]
        env = {one["name"]: one.get("value", "") for one in container.get("env", ())}
        command = [*container.get("command", ()), *container.get("args", ())]
        try:
            work = Work(self._engine, container["image"], command, env)
        except NoImage as error:
            self._ended(name, execution, 1, str(error))
        else:
            with self._lock:
                self._work[execution] = work
            if container["image"] != "never:1":
                job["latestCreatedExecution"]["completionStatus"] = "EXECUTION_RUNNING"
                self.executions[execution]["startTime"] = _now()
            work.run(lambda: self._ended(name, execution, work.exit_code or 0))
        return self._operation(self.executions[execution], "Execution", done=False)

    def _ended(self, job: str, execution: str, code: int, words: str = "") -> None:
        with self._lock:
            known = self.executions.get(execution)
            if known is None or "completionTime" in known:
                return
            cancelled = bool(known.pop("cancelling", False))
            count, status = (
                ("cancelledCount", "EXECUTION_CANCELLED")
                if cancelled
                else ("failedCount", "EXECUTION_FAILED")
                if code
                else ("succeededCount", "EXECUTION_SUCCEEDED")
            )
            good = not code and not cancelled
            state = "CONDITION_SUCCEEDED" if good else "CONDITION_FAILED"
            text = "" if good else words or "Task failed with message: it ended."
            known |= {
                count: 1,
                "completionTime": _now(),
                "conditions": [{"type": "Completed", "state": state, "message": text}],
                "result": {"status": {"message": words}, "exitCode": code},
            }
            reference = self.jobs[job]["latestCreatedExecution"]
            reference |= {"completionTime": _now(), "completionStatus": status}

    def _list_executions(self, request: Request) -> Reply:
        with self._lock:
            name = request.parts["job"]
            if name not in self.jobs:
                return _missing(name)
            mine = [_shown(one) for one in self.executions.values() if one["job"] == name]
        return Reply(body={"executions": mine})

    def _get_execution(self, request: Request) -> Reply:
        return self._found(self.executions, request.parts["execution"])

    def _cancel(self, request: Request) -> Reply:
        name = request.parts["execution"]
        with self._lock:
            if name not in self.executions:
                return _missing(name)
            known, work = self.executions[name], self._work.get(name)
            if "completionTime" in known:
                return _error(400, "FAILED_PRECONDITION", "The execution has ended.")
            known["cancelling"] = True
        if work is not None and work.running:
            threading.Thread(target=work.stop, daemon=True).start()
        else:
            self._ended(known["job"], name, 0)
        return self._operation(known, "Execution")

    def _tasks(self, request: Request) -> Reply:
        name = request.parts["execution"]
        with self._lock:
            if name not in self.executions:
                return _missing(name)
            task: dict[str, Any] = {"name": f"{name}/tasks/0", "index": 0}
            if "result" in self.executions[name]:
                task["lastAttemptResult"] = self.executions[name]["result"]
        return Reply(body={"tasks": [task]})

    def _entries(self, request: Request) -> Reply:
        name = request.body["filter"].rpartition('execution_name"="')[2].rstrip('"')
        with self._lock:
            found = [work for one, work in self._work.items() if one.endswith(f"/{name}")]
        lines = found[0].lines() if found else []
        entries = [{"textPayload": line} for line in reversed(lines)]
        return Reply(body={"entries": entries[: request.body["pageSize"]]})

    def _found(self, things: dict[str, dict[str, Any]], name: str) -> Reply:
        with self._lock:
            return Reply(body=_shown(things[name])) if name in things else _missing(name)

    def _stamped(self, job: dict[str, Any]) -> dict[str, Any]:
        return {**job, "etag": f'"{next(self._numbers)}"', "updateTime": _now()}

    def _operation(self, thing: dict[str, Any], kind: str = "Job", *, done: bool = True) -> Reply:
        typed = {"@type": f"type.googleapis.com/google.cloud.run.v2.{kind}", **_shown(thing)}
        name = f"projects/{PROJECT}/locations/{REGION}/operations/{next(self._numbers)}"
        body: dict[str, Any] = {"name": name, "done": done, "metadata": typed}
        return Reply(body={**body, "response": typed} if done else body)


def _shown(thing: dict[str, Any]) -> dict[str, Any]:
    return {
        name: deepcopy(one) for name, one in thing.items() if name not in {"result", "cancelling"}
    }


def _now() -> str:
    return datetime.now(tz=UTC).isoformat().replace("+00:00", "Z")


def _missing(name: str) -> Reply:
    return _error(404, "NOT_FOUND", f"Resource '{name}' was not found.")


def _error(code: int, status: str, message: str) -> Reply:
    return Reply(code, {"error": {"code": code, "message": message, "status": status}})
