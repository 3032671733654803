"""What hangs on a block document: deployments, flow runs, other block documents.

Deleting the document deletes the deployments and flow runs, silently, and takes the field away
from the blocks (facts/prefect-api.md). No filter of either API version finds them by document, so
everything is read once and counted.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from reconciler.api.blocks import documents
from reconciler.api.client import Api
from reconciler.api.deployments import flow_names, pages

MOST_RUNS = 5000
"""Flow runs looked at; where there are more, counts are 'at least'."""

_ACTIVE = frozenset({"PENDING", "RUNNING", "CANCELLING"})
_WAITING = "SCHEDULED"
_PAGE = 200


@dataclass(slots=True)
class RunCounts:
    """Flow runs that pinned one document and don't go away with a deployment that uses it.

    Attributes:
        active: pending, running or cancelling.
        others: ended ones, and such as wait for a deployment that no longer uses the document. Runs
            that never began and whose deployment is gone are none: no agent can start them, and
            Prefect's scheduler leaves such where it inserts while a deployment is deleted (seen on
            2.20.26).
    """

    active: int = 0
    others: int = 0


@dataclass(frozen=True, slots=True)
class BlockUsage:
    """Who uses which block document; the outer keys are the document's id.

    Attributes:
        deployments: that run on it or store their code in it: name by id.
        parents: block documents that refer to it: name and field by id.
        runs: flow runs that pinned it.
        all_runs: whether every flow run was looked at.
    """

    deployments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    parents: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    runs: Mapping[str, RunCounts] = field(default_factory=dict)
    all_runs: bool = True


async def block_usage(api: Api) -> BlockUsage:
    """Read who uses which block document."""
    deployments, existing = await _deployments(api)
    runs, all_runs = await _runs(api, deployments, existing)
    return BlockUsage(deployments, await _parents(api), runs, all_runs)


def history(runs: RunCounts, usage: BlockUsage) -> Iterator[str]:
    """Say, for people, what would be lost of these runs."""
    count = runs.active + runs.others
    if count:
        least = "" if usage.all_runs else "at least "
        yield f"deletes the history of {least}{count} flow run{'s' if count > 1 else ''}"
    elif not usage.all_runs:
        yield f"may delete the history of flow runs (only the last {MOST_RUNS} were read)"


async def _deployments(api: Api) -> tuple[dict[str, dict[str, str]], set[str]]:
    """Return the users of each document, and the ids of all deployments."""
    users: dict[str, list[Mapping[str, Any]]] = {}
    existing: set[str] = set()
    async for page in pages(api):
        for row in page:
            existing.add(row["id"])
            used = {row.get("infrastructure_document_id"), row.get("storage_document_id")}
            for id_ in used - {None}:
                users.setdefault(str(id_), []).append(row)
    flows = await flow_names(api, (row["flow_id"] for rows in users.values() for row in rows))
    named = {
        id_: {row["id"]: f"{flows.get(row['flow_id'], '?')}/{row['name']}" for row in rows}
        for id_, rows in users.items()
    }
    return named, existing


async def _parents(api: Api) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    async for document in documents(api, secrets=False, anonymous=True):
        for name, target in document.references.items():
            label = f"{document.slug}/{document.name} loses its {name}"
            found.setdefault(target.id, {})[document.id] = label
    return found


async def _runs(
    api: Api, deployments: Mapping[str, Mapping[str, str]], existing: AbstractSet[str]
) -> tuple[dict[str, RunCounts], bool]:
    counts: dict[str, RunCounts] = {}
    seen = 0
    async for page in api.pages("/flow_runs/filter", {"sort": "ID_DESC"}, size=_PAGE):
        for row in page:
            id_ = row.get("infrastructure_document_id")
            if id_ is not None and not _abandoned(row, existing):
                users = deployments.get(id_, {})
                _count(counts.setdefault(id_, RunCounts()), row, users)
        seen += len(page)
        if seen >= MOST_RUNS:
            return counts, False
    return counts, True


def _abandoned(row: Mapping[str, Any], existing: AbstractSet[str]) -> bool:
    waits = row.get("state_type") == _WAITING and not row.get("run_count")
    return waits and row.get("deployment_id") not in existing


def _count(counts: RunCounts, row: Mapping[str, Any], users: Mapping[str, str]) -> None:
    state = row.get("state_type")
    if state in _ACTIVE:
        counts.active += 1
    elif state != _WAITING or row.get("deployment_id") not in users:
        counts.others += 1
