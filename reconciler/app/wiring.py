"""The wiring: settings in, working parts out. The only place that knows all of them."""

import os
import platform
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.api.client import Api
from reconciler.api.connect import connect
from reconciler.controller.pipeline import Desk
from reconciler.errors import UsageError
from reconciler.kinds import KINDS
from reconciler.manifests.cache import ParseCache
from reconciler.manifests.load import LoadOptions
from reconciler.model.wishes import Location, Wishes
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.settings import ConnectionSettings, Settings, load, process_environment
from reconciler.source.base import Source
from reconciler.source.directory import DirectorySource
from reconciler.source.git import GitSource, WorkTree


@dataclass(frozen=True)
class App:
    """What every command starts from.

    Attributes:
        settings: read once.
        environ: the process's environment, for secrets and for children.
        clock: the machine's.
    """

    settings: Settings
    environ: Mapping[str, str] = field(repr=False)
    clock: Clock

    @classmethod
    def from_environment(cls) -> "App":
        """Read this process's environment.

        Raises:
            UsageError: a setting is wrong.
        """
        environ = process_environment()
        return cls(load(environ), environ, SystemClock())

    def source(self, where: Location) -> Source:
        """Make the source of a location.

        Raises:
            SourceError: it can't be one.
        """
        if where.repo is None:
            return DirectorySource(where.path)
        return GitSource(where.repo, where.ref, where.path, mirror_dir=self._mirrors)

    async def load_options(
        self, where: Location, wishes: Wishes, *, offline: bool = False
    ) -> LoadOptions:
        """Return what loading manifests needs beside the tree."""
        policy = self._policy_source(where)
        return LoadOptions(
            environment=wishes.environment,
            secret_env=self.environ,
            base_dir=None if where.repo else _absolute(where.path),
            no_secrets=not wishes.secrets,
            policy_from=None if policy is None else await policy.fetch(),
            cache=ParseCache(),
            offline=offline,
        )

    @asynccontextmanager
    async def desk(self, connection: ConnectionSettings | None = None) -> AsyncIterator[Desk]:
        """Connect to the API for the time of the block."""
        async with connect(connection or self.settings.connection, self.clock) as api:
            yield self.desk_of(api)

    def desk_of(self, api: Api) -> Desk:
        """Return a desk for a connected API."""
        return Desk(api, KINDS, self.clock, holder_name())

    @property
    def _mirrors(self) -> Path:
        return self.settings.service.state_dir / "mirrors"

    def _policy_source(self, where: Location) -> Source | None:
        if where.policy_ref is None:
            return None
        if where.repo is not None:
            return GitSource(where.repo, where.policy_ref, where.path, mirror_dir=self._mirrors)
        tree = WorkTree.around(Path(where.path).resolve())
        if tree is None:
            raise UsageError(
                f"--policy-from needs a git repository, and {where.path} is in none",
                hint="give --repo, or leave --policy-from out",
            )
        top = Path(where.path).resolve()
        for _ in Path(tree.prefix).parts:
            top = top.parent
        return GitSource(str(top), where.policy_ref, tree.prefix, mirror_dir=self._mirrors)


def _absolute(path: str) -> Path:
    return Path(path).resolve()


def holder_name() -> str:
    """Return our name on a lease, for people: host and process."""
    return f"{platform.node() or 'unknown'}:{os.getpid()}"
