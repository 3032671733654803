"""A running `reconciler serve`: its repository on a real git server, its Prefect server, its API."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from tests.testbed import seed
from tests.testbed.cli import Cli, Running
from tests.testbed.git import Repository
from tests.testbed.ports import free_port
from tests.testbed.prefect import PrefectServer

TOKEN = "canary-web-token-0123456789"
SECRET = "canary-webhook-secret"
BLOCK = {"kind": "Block", "block_type_slug": "process", "name": "etl"}
KEY = "block/process/etl"


class Serving:
    """See the module's text.

    Attributes:
        work: where people edit.
        bare: what the git server gives out.
        url: of the repository, as the service knows it.
        running: the service.
        http: to its pages and API.
    """

    def __init__(self, server: PrefectServer, folder: Path, url: str, bare: Path) -> None:
        home = folder / "home"
        home.mkdir()
        self.server, self.url, self.bare = server, url, bare
        self.cli = Cli(home, server.client_env)
        self.env: dict[str, str] = {
            "RECONCILER_WEB_TOKEN": TOKEN,
            "RECONCILER_WEB_WEBHOOK_SECRET": SECRET,
            "RECONCILER_POLL_SECONDS": "3600",
            "RECONCILER_AGENT_POLL_SECONDS": "1",
        }
        self.work = Repository.create(folder / "work")
        self.running: Running | None = None
        self.http = httpx.Client()
        self.policy()

    # -- the repository ----------------------------------------------------------------------

    def policy(self, **fields: Any) -> None:
        """Write `reconciler.yaml`."""
        self.work.put("reconciler.yaml", yaml.safe_dump({"name": "shop", **fields}))

    def declare(self, **env: str) -> None:
        """Declare the one block with these variables."""
        document = {**BLOCK, "data": {"env": env}}
        self.work.put("blocks.yaml", yaml.safe_dump(document))

    def declare_noop(self, tag: str, **infrastructure: Any) -> None:
        """Declare a deployment of a flow that does nothing, its code in the repository."""
        document = {
            "kind": "Deployment",
            "flow_name": "noop",
            "name": "noop",
            "entrypoint": "flow.py:noop",
            "path": "$STORAGE_BASE_PATH",
            "tags": [tag],
            "infrastructure": {"type": "process", **infrastructure},
        }
        self.work.put("flow.py", "from prefect import flow\n\n@flow\ndef noop():\n    pass\n")
        self.work.put("noop.yaml", yaml.safe_dump(document))

    def push(self) -> str:
        """Commit and push; return the commit."""
        head = self.work.commit()
        self.work.publish(self.bare)
        return head

    # -- the service -------------------------------------------------------------------------

    def start(self, *args: str, ready: bool = True, **env: str) -> Running:
        """Start it, and wait until it is ready."""
        listen = f"127.0.0.1:{free_port()}"
        command = ("serve", "--repo", self.url, "--listen", listen, *args)
        self.running = self.cli.start(*command, env={**self.env, **env}).__enter__()
        self.http.close()
        self.http = httpx.Client(base_url=f"http://{listen}", timeout=30)
        self.until(lambda: self._answers("/readyz" if ready else "/healthz"))
        return self.running

    def stop(self) -> int:
        """Stop it as a container engine does; return its exit code."""
        assert self.running is not None
        self.running.terminate()
        return self.running.wait(60)

    def until(self, check: Any, seconds: float = 60) -> Any:
        """Wait until something is true; show the log if it never is."""
        try:
            return seed.wait_until(check, seconds=seconds)
        except TimeoutError:
            raise AssertionError(self.output) from None

    def _answers(self, path: str) -> bool:
        assert self.running is not None
        assert self.running.code is None, self.output
        try:
            return self.http.get(path).status_code == 200
        except httpx.TransportError:
            return False

    @property
    def output(self) -> str:
        """Its log."""
        return self.running.output if self.running else ""

    # -- its API -----------------------------------------------------------------------------

    def get(self, path: str, **query: Any) -> Any:
        """Read from its API."""
        answer = self.http.get(f"/api/v1{path}", params=query)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    def act(self, path: str) -> httpx.Response:
        """Act as somebody who has the token."""
        return self.http.post(f"/api/v1{path}", headers={"Authorization": f"Bearer {TOKEN}"})

    @property
    def status(self) -> Any:
        """It at a glance."""
        return self.get("/status")

    def in_force(self, revision: str) -> None:
        """Wait until a revision is in force."""
        self.until(lambda: self.status["revision"] == revision)

    def state(self, key: str = KEY) -> str:
        """Return the state of a resource."""
        return str(self.get(f"/resources/{key}")["state"])

    def hook(
        self, ref: str = "refs/heads/main", secret: str = SECRET, **more: Any
    ) -> httpx.Response:
        """Send what GitHub sends after a push."""
        repository = {"clone_url": self.url, "default_branch": "main"}
        body = json.dumps({"ref": ref, "repository": repository, **more}).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signature}"}
        return self.http.post("/hooks/github", content=body, headers=headers)

    # -- the Prefect server ------------------------------------------------------------------

    @property
    def live(self) -> dict[str, str] | None:
        """The live block's variables; None without a block."""
        with self.server.client() as client:
            found = seed.listing(client, "block_documents")
            mine = [one for one in found if one["name"] == "etl"]
            return mine[0]["data"].get("env", {}) if mine else None

    def edit(self, **env: str) -> None:
        """Change the live block by hand."""
        with self.server.client() as client:
            found = seed.listing(client, "block_documents")
            [mine] = [one for one in found if one["name"] == "etl"]
            body = {"data": {**mine["data"], "env": env}, "merge_existing_data": False}
            seed.request(client, "PATCH", f"/block_documents/{mine['id']}", body)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        if self.running is not None:
            self.running.__exit__(None, None, None)
