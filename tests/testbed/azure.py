"""Azure Container Instances on this machine: the resource manager's API and Azure's token service.

with Azure(engine) as cloud:
    ... cloud.url, cloud.ca_file, cloud.credentials() ...

It follows Microsoft's documentation (API 2023-05-01) where a launcher depends on it: a PUT makes and
starts a group, the list leaves the instance view out, secure values are never shown, a group whose
image can't be had is refused. Each group is a container of a Docker engine.
"""

import tempfile
import threading
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from tests.testbed.containers import NEVER, NoImage, Work
from tests.testbed.dockerd import Dockerd
from tests.testbed.http_api import HttpApi, Reply, Request
from tests.testbed.tls import certificate

SUBSCRIPTION = "33333333-3333-3333-3333-333333333333"
GROUP, LOCATION = "flows", "westeurope"
_TENANT = "11111111-1111-1111-1111-111111111111"
_CLIENT = "22222222-2222-2222-2222-222222222222"
_SECRET, _TOKEN = "the-secret", "az.test"
_RESOURCES = r"/subscriptions/(?P<subscription>[^/]+)/(?i:resourceGroups)/(?P<group>[^/]+)"
_GROUPS = f"{_RESOURCES}/providers/Microsoft.ContainerInstance/containerGroups"
_NAMED = f"{_GROUPS}/(?P<name>[^/]+)"


class Azure:
    """See the module's text.

    Attributes:
        api: the server; `api.requests` and `api.before` are for tests.
        groups: by name, as JSON.
        certificate: and its key, for a proxy before the API.
    """

    def __init__(self, engine: Dockerd) -> None:
        self._engine = engine
        self._lock = threading.RLock()
        self._work: dict[str, Work] = {}
        self.groups: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="raz-")
        self.certificate = certificate(Path(self._folder.name))
        self.ca_file = self.certificate[0]
        self.api = HttpApi(
            [
                ("GET", r"/[^/]+/v2.0/.well-known/openid-configuration", self._issuer),
                ("POST", r"/[^/]+/oauth2/v2.0/token", self._token),
                ("GET", _RESOURCES, self._resource_group),
                ("GET", _GROUPS, self._list),
                ("PUT", _NAMED, self._put),
                ("GET", _NAMED, self._get),
                ("DELETE", _NAMED, self._delete),
                ("POST", f"{_NAMED}/stop", self._stop),
                ("GET", f"{_NAMED}/containers/[^/]+/logs", self._logs),
            ],
            self.certificate,
        ).__enter__()
        self.url = self.api.url
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        self.api.__exit__()
        self._folder.cleanup()

    def credentials(self) -> dict[str, str]:
        """Return the data of a credentials block."""
        return {"client_id": _CLIENT, "tenant_id": _TENANT, "client_secret": _SECRET}

    def clear(self) -> None:
        """Forget all groups, and end their containers."""
        with self._lock:
            work = list(self._work.values())
            self.groups.clear()
            self._work.clear()
        for one in work:
            one.stop(0)

    def _issuer(self, request: Request) -> Reply:
        tenant = f"{request.base}/{_TENANT}"
        body = {
            "token_endpoint": f"{tenant}/oauth2/v2.0/token",
            "authorization_endpoint": f"{tenant}/oauth2/v2.0/authorize",
            "issuer": f"{tenant}/v2.0",
        }
        return Reply(body=body)

    def _token(self, request: Request) -> Reply:
        if f"client_secret={_SECRET}" not in str(request.body):
            text = "AADSTS7000222: The provided client secret keys for app are expired."
            return Reply(401, {"error": "invalid_client", "error_description": text})
        return Reply(body={"token_type": "Bearer", "expires_in": 3600, "access_token": _TOKEN})

    def _resource_group(self, request: Request) -> Reply:
        name = request.parts["group"]
        if name != GROUP:
            return _error(404, "ResourceGroupNotFound", f"Resource group '{name}' was not found.")
        path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
        return Reply(body={"id": path, "name": GROUP, "location": LOCATION, "properties": {}})

    def _list(self, _: Request) -> Reply:
        with self._lock:
            shown = [_shown(one) for one in self.groups.values()]
        for one in shown:
            one["properties"].pop("instanceView", None)
            for container in one["properties"]["containers"]:
                container["properties"].pop("instanceView", None)
        return Reply(body={"value": shown})

    def _put(self, request: Request) -> Reply:
        name = request.parts["name"]
        with self._lock:
            if name in self.groups and request.headers.get("if-none-match") == "*":
                return _error(412, "PreconditionFailed", "The container group exists.")
            container = request.body["properties"]["containers"][0]["properties"]
            image = container["image"]
            env = {
                one["name"]: one.get("value", one.get("secureValue"))
                for one in container.get("environmentVariables", ())
            }
            try:
                work = Work(self._engine, image, container["command"], env)
            except NoImage:
                text = f"The image '{image}' in container group '{name}' is not accessible. "
                text += "Please check the image and registry credential."
                return _error(400, "InaccessibleImage", text)
            group = {**request.body, "name": name, "id": request.path}
            group["type"] = "Microsoft.ContainerInstance/containerGroups"
            group["properties"]["provisioningState"] = "Pending" if image == NEVER else "Succeeded"
            self.groups[name], self._work[name] = group, work
            waits = image == NEVER
            _put_view(group, {"state": "Waiting", "detailStatus": ""} if waits else _running())
        work.run(lambda: self._ended(name, work))
        return Reply(201, _shown(group), {"Azure-AsyncOperation": f"{request.base}/operation"})

    def _ended(self, name: str, work: Work) -> None:
        with self._lock:
            if self._work.get(name) is work:
                detail = "Completed" if work.exit_code == 0 else "Error"
                state = {**_running(), "state": "Terminated", "exitCode": work.exit_code}
                _put_view(self.groups[name], {**state, "detailStatus": detail})

    def _get(self, request: Request) -> Reply:
        with self._lock:
            group = self.groups.get(request.parts["name"])
            return _missing(request) if group is None else Reply(body=_shown(group))

    def _delete(self, request: Request) -> Reply:
        with self._lock:
            group = self.groups.pop(request.parts["name"], None)
            work = self._work.pop(request.parts["name"], None)
        if group is None or work is None:
            return Reply(204)
        work.stop()
        return Reply(200, _shown(group))

    def _stop(self, request: Request) -> Reply:
        with self._lock:
            work = self._work.get(request.parts["name"])
        if work is None:
            return _missing(request)
        threading.Thread(target=work.stop, daemon=True).start()
        if not work.running:
            with self._lock:
                group = self.groups[request.parts["name"]]
                group["properties"]["instanceView"]["state"] = "Stopped"
        return Reply(204)

    def _logs(self, request: Request) -> Reply:
        with self._lock:
            work = self._work.get(request.parts["name"])
        if work is None:
            return _missing(request)
        lines = work.lines()
        tail = int(request.query.get("tail", len(lines)))
        return Reply(body={"content": "".join(f"{line}\n" for line in lines[len(lines) - tail :])})


def _running() -> dict[str, Any]:
    return {"state": "Running", "startTime": datetime.now(tz=UTC).isoformat(), "detailStatus": ""}


def _put_view(group: dict[str, Any], state: dict[str, Any]) -> None:
    whole = {"Terminated": "Failed" if state.get("exitCode") else "Succeeded"}
    properties = group["properties"]
    properties["instanceView"] = {"state": whole.get(state["state"], "Running"), "events": []}
    view = {"currentState": state, "restartCount": 0, "events": []}
    properties["containers"][0]["properties"]["instanceView"] = view


def _shown(group: dict[str, Any]) -> dict[str, Any]:
    """Return a group as Azure shows it: without secure values."""
    shown = deepcopy(group)
    for container in shown["properties"]["containers"]:
        for one in container["properties"].get("environmentVariables", ()):
            one.pop("secureValue", None)
    return shown


def _missing(request: Request) -> Reply:
    text = f"The Resource '{request.parts['name']}' under resource group '{GROUP}' was not found."
    return _error(404, "ResourceNotFound", text)


def _error(status: int, code: str, message: str) -> Reply:
    return Reply(status, {"error": {"code": code, "message": message}})
