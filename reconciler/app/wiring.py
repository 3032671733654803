"""The wiring: settings in, working parts out. The only place that knows all of them."""

import os
import platform
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.api.client import Api
from reconciler.api.connect import connect
from reconciler.api.opening import Opening
from reconciler.api.transport import Observer
from reconciler.controller.pipeline import Desk
from reconciler.errors import UsageError
from reconciler.kinds import KINDS
from reconciler.manifests.cache import ReadCache
from reconciler.manifests.kept import KeptReadings
from reconciler.manifests.load import LoadOptions
from reconciler.manifests.secrets import SecretAccess, VaultAccess
from reconciler.model.values import Secret
from reconciler.model.wishes import Location, Wishes
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.settings import (
    ConnectionSettings,
    SecretSettings,
    Settings,
    SourceSettings,
    load,
    process_environment,
)
from reconciler.source.base import Source
from reconciler.source.directory import DirectorySource
from reconciler.source.git import (
    GitAuth,
    GitSource,
    HttpBasic,
    HttpBasicFile,
    HttpBearer,
    SharedConnections,
    Signers,
    SshKey,
    WorkTree,
)


@dataclass(frozen=True)
class App:
    """What every command starts from.

    Attributes:
        settings: read once.
        environ: the process's environment, for secrets and for children.
        clock: the machine's.
        opening: a connection to the API that is on its way already.
    """

    settings: Settings
    environ: Mapping[str, str] = field(repr=False)
    clock: Clock
    opening: Opening | None = None

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
        return self.git_source(where)

    def git_source(self, where: Location, *, shared: bool = False) -> GitSource:
        """Make the source of a repository.

        Credentials and trusted keys of the settings are for the repository of the settings; where
        they name none, for whichever is asked for.

        Args:
            where: the repository.
            shared: let connections by ssh stand between two questions, for who asks often.

        Raises:
            SourceError: it can't be one.
        """
        settings = self.settings.source
        ours = settings.repo in {None, where.repo}
        signers = settings.git_signers if ours else None
        auth = git_auth(settings) if ours else None
        if shared and isinstance(auth, SshKey):
            auth = replace(auth, shared=SharedConnections())
        return GitSource(
            where.repo or "",
            where.ref,
            where.path,
            mirror_dir=self._mirrors,
            auth=auth,
            signers=None if signers is None else Signers(signers),
        )

    async def load_options(
        self, where: Location, wishes: Wishes, *, offline: bool = False
    ) -> LoadOptions:
        """Return what loading manifests needs beside the tree."""
        policy = self._policy_source(where)
        return LoadOptions(
            environment=wishes.environment,
            secret_env=self.environ,
            secret_access=secret_access(self.settings.secrets),
            base_dir=None if where.repo else _absolute(where.path),
            no_secrets=not wishes.secrets,
            policy_from=None if policy is None else await policy.fetch(),
            cache=ReadCache(KeptReadings(self.settings.service.state_dir / "readings")),
            offline=offline,
        )

    @asynccontextmanager
    async def desk(
        self, connection: ConnectionSettings | None = None, observer: Observer | None = None
    ) -> AsyncIterator[Desk]:
        """Connect to the API for the time of the block; the observer is told of each request."""
        settings = connection or self.settings.connection
        opening = self.opening if connection is None and observer is None else None
        opened = (
            connect(settings, self.clock, observer=observer)
            if opening is None or opening.taken
            else opening.take()
        )
        async with opened as api:
            yield self.desk_of(api)

    def desk_of(self, api: Api) -> Desk:
        """Return a desk for a connected API."""
        return Desk(api, KINDS, self.clock, holder_name(), self.settings.service.lease_seconds)

    @property
    def _mirrors(self) -> Path:
        return self.settings.service.state_dir / "mirrors"

    def _policy_source(self, where: Location) -> Source | None:
        if where.policy_ref is None:
            return None
        if where.repo is not None:
            return self.git_source(replace(where, ref=where.policy_ref))
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


def git_auth(settings: SourceSettings) -> GitAuth | None:
    """Return the credentials that the settings give for repositories, None if they give none."""
    name = settings.git_username
    if settings.git_ssh_key is not None:
        return SshKey(settings.git_ssh_key, settings.git_known_hosts)
    if settings.git_bearer is not None:
        return HttpBearer(Secret(settings.git_bearer.get_secret_value()))
    if settings.git_password_file is not None:
        return HttpBasicFile(name, settings.git_password_file)
    if settings.git_password is not None:
        return HttpBasic(name, Secret(settings.git_password.get_secret_value()))
    return None


def secret_access(settings: SecretSettings) -> SecretAccess:
    """Return what opens the places of secrets."""
    identity, token = settings.age_identity, settings.vault_token
    vault = None
    if settings.vault_addr is not None and token is not None:
        ca_file = settings.vault_ca_file
        vault = VaultAccess(
            settings.vault_addr,
            Secret(token.get_secret_value()),
            settings.vault_namespace,
            None if ca_file is None else str(ca_file),
        )
    return SecretAccess(
        None if identity is None else Secret(identity.get_secret_value()),
        vault,
        settings.secrets_command,
    )


def _absolute(path: str) -> Path:
    return Path(path).resolve()


def holder_name() -> str:
    """Return our name on a lease, for people: host and process."""
    return f"{platform.node() or 'unknown'}:{os.getpid()}"
