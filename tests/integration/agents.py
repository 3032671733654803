"""Agents as processes for the tests of a launch on real servers, and cheap flow runs for them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.testbed import seed
from tests.testbed.environments import ROOT

FIELDS = {
    "title": "Infrastructure",
    "type": "object",
    "properties": {},
    "secret_fields": [],
    "block_schema_references": {},
}

CHEAP = """
import json, os, sys, time, urllib.request
run, api = os.environ["PREFECT__FLOW_RUN_ID"], os.environ["PREFECT_API_URL"]
with open(sys.argv[1], "a") as file:
    file.write(run + "\\n")
time.sleep(float(os.environ.get("TAKES", "0")))
body = json.dumps({"state": {"type": os.environ.get("ENDS", "COMPLETED")}, "force": True}).encode()
for attempt in range(50):
    try:
        request = urllib.request.Request(
            f"{api}/flow_runs/{run}/set_state", body, {"content-type": "application/json"})
        urllib.request.urlopen(request, timeout=10)
        break
    except Exception:
        time.sleep(0.2)
"""
"""A 'flow run' that costs a tenth of a second: it notes its execution and reports its end."""


class AgentProcess:
    """An agent in a process of its own, with its events."""

    def __init__(
        self, server, folder: Path, name="one", url=None, *, platforms=None, env=None, **options
    ):
        self.folder = folder
        fast = {"poll_seconds": 0.3, "heartbeat_seconds": 1, "grace_seconds": 5}
        wanted = {
            "url": url or server.url,
            "server": server.url,
            "folder": str(folder),
            "name": name,
            "python": str(server.python),
            "options": fast | options,
            "platforms": platforms or {},
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.agent_process", json.dumps(wanted)],
            cwd=ROOT,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "RECONC"))},
                **(env or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.events: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.events.append(line.rstrip())

    def wait_for(self, words: str, seconds=90):
        seed.wait_until(lambda: any(words in line for line in self.events), seconds=seconds)
        return next(line for line in self.events if words in line)

    def ready(self):
        self.wait_for("ready")
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            self.kill()
            self._reader.join(5)
            self.process.stdout.close()


def process_block(client, name="local", **data):
    """Create a `process` block document on either version."""
    return infrastructure_block(client, "process", name, {"type": "process", **data})


def infrastructure_block(client, slug, name, data):
    """Create a block document of an infrastructure type on either version; return its id."""
    type_id = seed.request(client, "GET", f"/block_types/slug/{slug}", also=404).get("id")
    if type_id is None:
        body = {"name": slug.replace("-", " ").title(), "slug": slug}
        type_id = seed.request(client, "POST", "/block_types/", body)["id"]
    body = {
        "name": name,
        "data": data,
        "block_type_id": type_id,
        "block_schema_id": seed.block_schema(client, type_id, {**FIELDS, "block_type_slug": slug}),
    }
    return seed.request(client, "POST", "/block_documents/", body)["id"]


def cheap_deployment(client, folder: Path, name="cheap", **env):
    """Deploy the cheap flow; return the deployment's id. Executions are in `executions(folder)`."""
    command = [sys.executable, "-I", "-S", "-c", CHEAP, str(folder / "executions")]
    block = process_block(client, name, command=command, env=env, stream_output=False)
    made = seed.deployment(
        client,
        name,
        work_pool_name="default-agent-pool",
        infrastructure_document_id=block,
        enforce_parameter_schema=False,
    )
    return made["id"]


def ensure_pool(client):
    body = {"name": "default-agent-pool", "type": "prefect-agent"}
    seed.request(client, "POST", "/work_pools/", body, also=409)


def executions(folder: Path) -> list[str]:
    """List the ids of the flow runs that were executed, once for each execution."""
    file = folder / "executions"
    return file.read_text().split() if file.exists() else []


def settle(seconds=1.0):
    """Give a second execution, if there were one, the time to show."""
    time.sleep(seconds)
