"""What the tests of reconciling share: a tree, a server behind a counting proxy, the command line."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from reconciler.engine.documents import INVENTORY_TYPE, LEASE_TYPE
from tests.testbed import seed
from tests.testbed.cli import Cli, Finished
from tests.testbed.fault import FaultProxy, Seen
from tests.testbed.prefect import PrefectServer

HOURLY = {"interval": 3600, "anchor_date": "2024-01-01T00:00:00Z"}
OURS = (INVENTORY_TYPE, LEASE_TYPE)


@dataclass
class Site:
    """A user's place of work.

    Attributes:
        server: a clean Prefect server.
        proxy: in front of it; the command line goes through it.
        cli: `reconciler`.
        tree: the folder with the manifests.
    """

    server: PrefectServer
    proxy: FaultProxy
    cli: Cli
    tree: Path

    # -- the tree ----------------------------------------------------------------------------

    def policy(self, **fields: Any) -> None:
        """Write `reconciler.yaml`."""
        self.write("reconciler.yaml", {"name": "shop", **fields})

    def write(self, file: str, *documents: dict[str, Any] | str) -> None:
        """Write a manifest file."""
        path = self.tree / file
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = [d if isinstance(d, str) else yaml.safe_dump(d, sort_keys=False) for d in documents]
        path.write_text("---\n".join(texts))

    def remove(self, file: str) -> None:
        """Delete a manifest file."""
        (self.tree / file).unlink()

    # -- the command line --------------------------------------------------------------------

    def run(self, command: str, *args: str | Path, **more: Any) -> Finished:
        """Run a command on the tree; the proxy forgets what it saw before."""
        self.proxy.forget()
        return self.cli(command, *args, self.tree, **more)

    def plan(self, *args: str, code: int = 0, **more: Any) -> dict[str, Any]:
        """Return the plan."""
        return self._json("plan", *args, code=code, **more)

    def drift(self, *args: str, **more: Any) -> dict[str, Any]:
        """Return what changed behind git's back."""
        return self._json("drift", *args, **more)

    def apply(self, *args: str, code: int = 0, **more: Any) -> dict[str, Any]:
        """Apply and return the report."""
        return self._json("apply", "--yes", *args, code=code, **more)

    def _json(self, command: str, *args: str, code: int = 0, **more: Any) -> dict[str, Any]:
        done = self.run(command, "--format", "json", *args, **more)
        assert done.code == code, done
        found: dict[str, Any] = done.json()
        return found

    def settled(self) -> None:
        """Assert that nothing differs, and that finding it out writes nothing."""
        plan = self.plan("--detailed-exitcode")
        assert plan["changes"] == []
        assert self.proxy.writes == []

    # -- the server --------------------------------------------------------------------------

    @property
    def written(self) -> list[str]:
        """What the last command wrote: method and path of each request, our records left out.

        A request that the server refused, since it was busy, wrote nothing.
        Left out are inventory and lease: what they take is the same for each level of an apply.
        """
        known = {record["id"] for record in self.records()}
        done = [seen for seen in self.proxy.writes if seen.status not in {429, 503}]
        others = [seen for seen in done if not _is_record(seen, known)]
        if any(_holds_lease(seen) for seen in done):
            release = others.pop()
            assert (release.method, release.path[:21]) == ("DELETE", "/api/block_documents/")
        return [f"{seen.method} {seen.path.removeprefix('/api')}" for seen in others]

    def records(self) -> list[dict[str, Any]]:
        """Return inventory and lease as they are in the API, without their secret."""
        with self.server.client() as client:
            found = seed.listing(client, "block_documents")
        return [doc for doc in found if doc["block_type"]["slug"] in OURS]

    def owned(self) -> list[str]:
        """Return the keys of the inventory."""
        return sorted(
            key for record in self.records() for key in record["data"].get("entries") or {}
        )

    def block(self, slug: str, name: str) -> dict[str, Any] | None:
        """Return a block document with its secrets, None if there is none."""
        path = f"/block_types/slug/{slug}/block_documents/name/{name}?include_secrets=true"
        return self._get(path)

    def deployment(self, name: str, flow: str = "etl") -> dict[str, Any] | None:
        """Return a deployment, None if there is none."""
        return self._get(f"/deployments/name/{flow}/{name}")

    def _get(self, path: str) -> dict[str, Any] | None:
        with self.server.client() as client:
            answer = client.get(path)
        assert answer.status_code in (200, 404), answer.text
        return answer.json() if answer.status_code == 200 else None

    def patch(self, path: str, **body: Any) -> None:
        """Change something behind git's back."""
        with self.server.client() as client:
            seed.request(client, "PATCH", path, body)

    def patch_deployment(self, name: str, **body: Any) -> None:
        """Change a deployment behind git's back."""
        self.patch(f"/deployments/{self.deployment(name)['id']}", **body)

    def patch_block(self, slug: str, name: str, **data: Any) -> None:
        """Change a block's data behind git's back, as Prefect's own client does."""
        self.patch(f"/block_documents/{self.block(slug, name)['id']}", data=data)

    def delete(self, path: str) -> None:
        """Delete something behind git's back."""
        with self.server.client() as client:
            seed.request(client, "DELETE", path)

    def runs(self, deployment: str) -> set[str]:
        """Return the ids of the scheduled flow runs of a deployment."""
        id_ = self.deployment(deployment)["id"]
        with self.server.client() as client:
            found = seed.listing(client, "flow_runs", deployments={"id": {"any_": [id_]}})
        return {run["id"] for run in found if run["state_type"] == "SCHEDULED"}

    def objects(self) -> dict[str, str]:
        """Return all deployments and block documents that aren't ours, with `updated`, by id."""
        with self.server.client() as client:
            found = [
                *seed.listing(client, "deployments"),
                *seed.listing(client, "block_documents", block_documents={"is_anonymous": None}),
            ]
        return {
            item["id"]: item["updated"]
            for item in found
            if (item.get("block_type") or {}).get("slug") not in OURS
        }


def _is_record(seen: Seen, known: set[str]) -> bool:
    if any(id_ in seen.path for id_ in known) or _holds_lease(seen):
        return True
    return "/block_documents/" in seen.path and "inventory" in _data(seen)


def _holds_lease(seen: Seen) -> bool:
    return "/block_documents/" in seen.path and "holder" in _data(seen)


def _data(seen: Seen) -> dict[str, Any]:
    return (json.loads(seen.body).get("data") or {}) if seen.body else {}


def process(name: str = "etl", **data: Any) -> dict[str, Any]:
    """A block of the type that every test may change."""
    return {"kind": "Block", "block_type_slug": "process", "name": name, "data": data}


def deployment(name: str = "nightly", **fields: Any) -> dict[str, Any]:
    """A deployment on the block `process/etl`."""
    return {
        "kind": "Deployment",
        "flow_name": "etl",
        "name": name,
        "entrypoint": "flows/etl.py:etl",
        "path": "/srv/flows",
        "infrastructure": "process/etl",
        **fields,
    }


def change(plan: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a plan's or report's change of a key."""
    return next(found for found in plan["changes"] if found["key"] == key)


def actions(plan: dict[str, Any]) -> dict[str, str]:
    """Return the action of each key that a plan or report names."""
    return {found["key"]: found["action"] for found in plan["changes"]}
