"""The API of a Kubernetes cluster over HTTP, without anything behind it: Jobs, pods, watches.

Tests move its objects (`runs`, `ends`, …) and let it fail (`fail`, `lose`, `api.before`). Resource
versions, 409, 410 and bookmarks are as the API documents them.
"""

import itertools
import json
import threading
import time
from copy import deepcopy

from tests.testbed.http_api import Broken, HttpApi, Reply

UID = "0e1a2b3c-kube-system"
_JOBS = r"/apis/batch/v1/namespaces/(?P<ns>[^/]+)/jobs"
_PODS = r"/api/v1/namespaces/(?P<ns>[^/]+)/pods"
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class KubernetesApi:
    """See the module's text.

    Attributes:
        api: the server; `api.requests` are all that came.
        jobs, pods: by name.
        logs: text by pod.
        mute: whoever asks for a log hears nothing.
        unlinked: how often a log is asked for before its node has linked the file.
        unwritten: how often a log is asked for before anything is in it.
        warnings: messages of Events, by the name of what they are about.
        denied: (verb, resource) that access reviews refuse.
        namespaces: those that exist.
    """

    def __init__(self):
        self._changed = threading.Condition()
        self._versions = itertools.count(1000)
        self._history = []
        self._compacted = 0
        self._cut = 0
        self._failures = []
        self._lost = []
        self.jobs, self.pods, self.logs, self.warnings = {}, {}, {}, {}
        self.unlinked = 0
        self.unwritten = 0
        self.mute = False
        self.denied = set()
        self.namespaces = {"default", "kube-system"}
        self.api = HttpApi(
            [
                ("GET", r"/api/v1/namespaces/(?P<name>[^/]+)", self._namespace),
                ("GET", r"/api/v1/namespaces/[^/]+/serviceaccounts/(?P<name>[^/]+)", self._account),
                ("GET", r"/api/v1/namespaces/[^/]+/events", self._events),
                ("POST", _REVIEWS, self._review),
                ("POST", _JOBS, self._create),
                ("GET", _JOBS, lambda request: self._list(request, self.jobs)),
                ("GET", f"{_JOBS}/(?P<name>[^/]+)", lambda r: self._one(r, self.jobs)),
                ("PATCH", f"{_JOBS}/(?P<name>[^/]+)", self._patch),
                ("DELETE", f"{_JOBS}/(?P<name>[^/]+)", self._delete_job),
                ("GET", _PODS, lambda request: self._list(request, self.pods)),
                ("DELETE", f"{_PODS}/(?P<name>[^/]+)", self._delete_pod),
                ("GET", f"{_PODS}/(?P<name>[^/]+)/log", self._log),
            ]
        )
        self.api.before = self._before

    def __enter__(self):
        self.api.__enter__()
        return self

    def __exit__(self, *_):
        with self._changed:
            self._cut += 1
            self._changed.notify_all()
        self.api.__exit__()

    def config(self, token="good"):
        """Return the data of a `kubernetes-cluster-config` block."""
        user = {"name": "u", "user": {"token": token}}
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        cluster = {"name": "c", "cluster": {"server": self.api.url}}
        kubeconfig = {"clusters": [cluster], "users": [user], "contexts": [context]}
        return {"config": kubeconfig, "context_name": "c"}

    # -- what tests do -----------------------------------------------------------------------

    def fail(self, status, method="", path="", message="told so", times=1, headers=None):
        """Answer the next such requests with an error, and do nothing."""
        self._failures += [(method, path, status, message, headers or {})] * times

    def lose(self, method, path):
        """Carry the next such request out, and cut the connection instead of answering."""
        self._lost.append((method, path))

    def runs(self, job, reason=None, **status):
        """Let a Job's pod run (or wait, with a reason)."""
        waiting = {"waiting": {"reason": reason, "message": status.pop("message", "")}}
        state = waiting if reason else {"running": {}}
        self._put_pod(job, "Pending" if reason else "Running", state, **status)

    def ends(self, job, code=0, reason=None, *, pod=True, **status):
        """Let a Job end by itself."""
        phase = "Failed" if code else "Succeeded"
        terminated = {"exitCode": code, "reason": reason or ("Error" if code else "Completed")}
        if pod:
            self._put_pod(job, phase, {"terminated": terminated}, **status)
        kind, why = ("Failed", "BackoffLimitExceeded") if code else ("Complete", "")
        condition = {"type": kind, "status": "True", "reason": why}
        with self._changed:
            self.jobs[job]["status"] = {"conditions": [condition]}
            self._happened("MODIFIED", "jobs", self.jobs[job])

    def deletes(self, job):
        """Let somebody delete a Job."""
        with self._changed:
            self._happened("DELETED", "jobs", self.jobs.pop(job))

    def says_late_that_it_deleted(self, job):
        """Let the stream tell only now of the end of an earlier Job of that name."""
        with self._changed:
            self._happened("DELETED", "jobs", deepcopy(self.jobs[job]))

    def takes_pod_away(self, job):
        """Let somebody begin to delete a Job's pod."""
        with self._changed:
            pod = self.pods[f"{job}-pod"]
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self._happened("MODIFIED", "pods", pod)

    def break_streams(self, *, forget=False):
        """Cut all streams off; with `forget`, the past can't be followed any more (410)."""
        with self._changed:
            self._cut += 1
            if forget:
                self._compacted = next(self._versions)
            self._changed.notify_all()

    def count(self, method, path, watch=False):
        """Count requests."""
        return sum(
            line.startswith(f"{method} ") and path in line and ("watch=true" in line) is watch
            for line in self.api.requests
        )

    # -- routes ------------------------------------------------------------------------------

    def _before(self, request):
        if request.headers.get("authorization") != "Bearer good":
            return _status(401, "Unauthorized")
        for failure in self._failures:
            method, path, status, message, headers = failure
            if method in {"", request.method} and path in request.path:
                self._failures.remove(failure)
                return _status(status, message, headers)
        return None

    def _answered(self, request, reply):
        for lost in self._lost:
            if lost[0] == request.method and lost[1] in request.path:
                self._lost.remove(lost)
                raise Broken
        return reply

    def _namespace(self, request):
        name = request.parts["name"]
        if name not in self.namespaces:
            return _status(404, f'namespaces "{name}" not found')
        return Reply(body={"metadata": {"name": name, "uid": UID}})

    def _account(self, request):
        name = request.parts["name"]
        return Reply(body={}) if name == "default" else _status(404, f"{name} not found")

    def _events(self, request):
        name = request.query["fieldSelector"].split(",")[0].partition("=")[2]
        told = [{"message": text, "lastTimestamp": "2026"} for text in self.warnings.get(name, ())]
        return Reply(body={"items": told})

    def _review(self, request):
        what = request.body["spec"]["resourceAttributes"]
        resource = f"{what['resource']}/{what['subresource']}".rstrip("/")
        return Reply(201, {"status": {"allowed": (what["verb"], resource) not in self.denied}})

    def _create(self, request):
        job, name = request.body, request.body["metadata"]["name"]
        with self._changed:
            if name in self.jobs:
                return _status(409, f'jobs.batch "{name}" already exists')
            if job["metadata"]["namespace"] not in self.namespaces:
                return _status(404, "namespaces not found")
            self.jobs[name] = job
            self._happened("ADDED", "jobs", job)
        return self._answered(request, Reply(201, deepcopy(job)))

    def _list(self, request, things):
        if request.query.get("watch") == "true":
            kind = "jobs" if things is self.jobs else "pods"
            return Reply(stream=self._watch(kind, int(request.query["resourceVersion"])))
        with self._changed:
            wanted = _selector(request.query.get("labelSelector", ""))
            found = [deepcopy(one) for one in things.values() if wanted(one)]
            version = str(next(self._versions))
        return Reply(body={"items": found, "metadata": {"resourceVersion": version}})

    def _watch(self, kind, version):
        with self._changed:
            cut = self._cut
            if version < self._compacted:
                yield _line("ERROR", _status(410, "too old resource version").body)
                return
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with self._changed:
                if self._cut != cut:
                    raise Broken
                new = [one for one in self._history if one[0] > version and one[2] == kind]
                if not new:
                    self._changed.wait(1)
            for number, what, _, thing in new:
                version = number
                yield _line(what, thing)

    def _one(self, request, things):
        with self._changed:
            found = things.get(request.parts["name"])
            return Reply(body=deepcopy(found)) if found else _gone(request)

    def _patch(self, request):
        with self._changed:
            job = self.jobs.get(request.parts["name"])
            if job is None:
                return _gone(request)
            job["spec"].update(request.body["spec"])
            self._happened("MODIFIED", "jobs", job)
        return self._answered(request, Reply(body=deepcopy(job)))

    def _delete_job(self, request):
        with self._changed:
            job = self.jobs.pop(request.parts["name"], None)
            if job is None:
                return _gone(request)
            pod = self.pods.pop(f"{request.parts['name']}-pod", None)
            if pod is not None:
                self._happened("DELETED", "pods", pod)
            self._happened("DELETED", "jobs", job)
        return Reply(body={})

    def _delete_pod(self, request):
        with self._changed:
            return Reply(body={}) if self.pods.pop(request.parts["name"], None) else _gone(request)

    def _log(self, request):
        lines = self.logs.get(request.parts["name"], [])
        if self.mute:
            with self._changed:
                self._changed.wait_for(lambda: self._cut, 60)
            raise Broken
        if self.unlinked:
            self.unlinked -= 1
            text = 'failed to try resolving symlinks in path "/var/log/pods/x": no such file'
            return Reply(body=text.encode())
        if self.unwritten:
            self.unwritten -= 1
            return Reply(body=b"")
        if request.query.get("follow") == "true":
            return Reply(stream=(f"{line}\n".encode() for line in lines))
        texts = [line.partition(" ")[2] for line in lines][-int(request.query["tailLines"]) :]
        return Reply(body="".join(f"{text}\n" for text in texts).encode())

    def _put_pod(self, job, phase, state, **status):
        name = f"{job}-pod"
        told = {"phase": phase, "containerStatuses": [{"name": "prefect-job", "state": state}]}
        with self._changed:
            labels = {**self.jobs[job]["metadata"]["labels"], "job-name": job}
            new = name not in self.pods
            self.pods[name] = {
                "metadata": {"name": name, "labels": labels},
                "status": told | status,
            }
            self._happened("ADDED" if new else "MODIFIED", "pods", self.pods[name])

    def _happened(self, what, kind, thing):
        version = next(self._versions)
        thing["metadata"]["resourceVersion"] = str(version)
        self._history.append((version, what, kind, deepcopy(thing)))
        self._changed.notify_all()


def _selector(text):
    key, _, value = text.partition("=")
    return lambda one: (value or None) in (None, one["metadata"]["labels"].get(key))


def _line(kind, thing):
    return json.dumps({"type": kind, "object": thing}).encode() + b"\n"


def _gone(request):
    return _status(404, f'"{request.parts["name"]}" not found')


def _status(code, message, headers=None):
    body = {"kind": "Status", "status": "Failure", "message": message, "code": code}
    return Reply(code, body, headers or {})
