"""The kind WorkPool: `work-pool/<name>`.

The API knows pools by name alone, and neither name nor type can be changed. A deleted pool takes its
queues along; deployments keep the queue's name and lose the link to it, so nothing runs them any
more. Even `default-agent-pool` can be deleted (facts; tried on 2.20.26 and 3.8.8).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from pydantic import Field

from reconciler.api import pools
from reconciler.kinds.base import Session
from reconciler.kinds.base.record import Raw, RecordKind, get
from reconciler.model.deployment_fields import DEFAULT_POOL
from reconciler.model.desired import Document, Parsed
from reconciler.model.exported import Exported
from reconciler.model.keys import Key
from reconciler.model.live import Evidence, Live
from reconciler.model.near import did_you_mean
from reconciler.model.problems import Problem
from reconciler.model.records import Record, name_at
from reconciler.model.values import Fields

_PLACEHOLDER = re.compile(r"{{\s*([A-Za-z_]\w*)\s*}}")
_PARTS = ("job_configuration", "variables")
_DEFAULT_QUEUE = "default"


class PoolFields(Record):
    """See the module's text."""

    immutable: ClassVar[frozenset[str]] = frozenset({"type"})
    released: ClassVar[frozenset[str]] = frozenset({"is_paused"})

    type: str = Field(
        min_length=1,
        description="Who runs its flows: prefect-agent for the agent of this program, or a type of"
        " worker such as process, docker, kubernetes. It can't be changed.",
    )
    description: str | None = Field(default=None, description="For people.")
    base_job_template: dict[str, Any] = Field(
        default_factory=dict, description="job_configuration and variables of its worker's jobs."
    )
    is_paused: bool = Field(default=False, description="Whether its flow runs wait.")
    concurrency_limit: int | None = Field(
        default=None, ge=0, description="Most flow runs at a time; null for no limit."
    )


class WorkPool(RecordKind):
    """Work pools of any type."""

    name: ClassVar[str] = "WorkPool"
    prefix: ClassVar[str] = "work-pool"
    example: ClassVar[str] = """\
kind: WorkPool
name: batch
type: prefect-agent
concurrency_limit: 10
"""
    fields: ClassVar[type[Record]] = PoolFields
    path: ClassVar[str] = "/work_pools"

    def key_of(self, document: Document) -> Key | Problem:
        """Its name."""
        name = name_at(document, "name", self.name)
        if isinstance(name, Problem):
            return name
        if name.lower().startswith("prefect"):
            return Problem(document.at("name"), "names beginning with Prefect are the server's own")
        return Key.of(self.prefix, name)

    def parse(self, document: Document) -> Parsed:
        """Check offline and declare; a job template must fit together."""
        parsed = super().parse(document)
        template = document.value.get("base_job_template")
        if not isinstance(template, Mapping) or not template:
            return parsed
        problems = tuple(_template_problems(document, template))
        return Parsed(problems=(*parsed.problems, *problems)) if problems else parsed

    def key_of_live(self, raw: Raw) -> Key | None:
        """Its name."""
        return Key.of(self.prefix, raw["name"])

    def path_of(self, key: Key) -> str:
        """By name."""
        return f"{self.path}/{quote(key.name, safe='')}"

    async def read(self, session: Session, key: Key, id_: str) -> Live | None:
        """Read by name; another pool of that name is not it."""
        found = await self.find(session, key)
        return found if found is not None and found.id == id_ else None

    async def update(self, session: Session, live: Live, fields: Fields) -> None:
        """Write the given fields."""
        await session.api.patch(self.path_of(live.key), dict(fields))

    async def delete(self, session: Session, live: Live) -> None:
        """Delete it, if it is still the one that we mean."""
        if await self.read(session, live.key, live.id) is not None:
            await session.api.delete(self.path_of(live.key))
        session.index.drop(live.key)

    async def describe(self, session: Session, live: Live) -> Exported | None:
        """Leave out the pool that a fresh server makes by itself."""
        made = await super().describe(session, live)
        bare = made is not None and set(made.document) == {"kind", "name", "type"}
        return None if bare and live.key.name == DEFAULT_POOL else made

    async def evidence(self, session: Session, key: Key, id_: str) -> Evidence:
        """Count what goes with it: queues, the deployments that would never run again."""
        raw = await get(session.api, self.path_of(key))
        if raw is None or raw["id"] != id_:
            return Evidence(present=False)
        users = await pools.users(session.api, key.name)
        return Evidence(
            present=True,
            active_runs=await pools.active_runs(session.api, key.name),
            takes={
                **{id_: f"strands deployment/{name}" for id_, name in users.items()},
                **await _queues(session, self.path_of(key), key.name),
            },
        )


async def _queues(session: Session, path: str, pool: str) -> dict[str, str]:
    """Return the queues of a pool but for the one that each pool is made with."""
    found: dict[str, str] = {}
    async for page in session.api.pages(f"{path}/queues/filter"):
        for raw in page:
            if raw["name"] != _DEFAULT_QUEUE:
                found[raw["id"]] = f"deletes work-queue/{pool}/{raw['name']}"
    return found


def _template_problems(document: Document, template: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what the server refuses (a template has both parts, and its variables are declared)."""
    at = ("base_job_template",)
    for part in template:
        if part not in _PARTS:
            hint = did_you_mean(str(part), _PARTS, what="its parts")
            yield Problem(document.at(*at, part), f"a job template has no part {part!r}", hint)
    missing = [part for part in _PARTS if not isinstance(template.get(part), Mapping)]
    for part in missing:
        yield Problem(document.at(*at), f"a job template needs {part}, a mapping")
    if missing:
        return
    properties = template["variables"].get("properties")
    known = set(properties) if isinstance(properties, Mapping) else set()
    for path, name in _placeholders(template["job_configuration"], ()):
        if name not in known:
            yield Problem(
                document.at(*at, "job_configuration", *path),
                f"the job template uses the variable {name}, which it does not declare",
                did_you_mean(name, known, what="its variables") or "declare it under variables",
            )


def _placeholders(
    value: Any, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        for name in _PLACEHOLDER.findall(value):
            yield path, name
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _placeholders(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _placeholders(inner, (*path, index))
