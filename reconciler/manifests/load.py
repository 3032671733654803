"""A tree to the desired state, or every problem in it at once (DESIGN 5 and 6.1).

    policy    = read_policy        reconciler.yaml
    choice    = choose             the environment: variables, patches, folders
    readings  = read               each file, unless it was read before:
        drafts    = drafts             documents of known kinds, with places
        resolved  = substitute, apply  variables, secrets and patches
        declared  = declare            each document by its kind
    desired   = validate           all of them together

A problem in one document never hides those of another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from reconciler.errors import InvalidManifests
from reconciler.kinds.base import Kind
from reconciler.manifests import entrypoints, files, marks, validate
from reconciler.manifests.cache import ReadCache, Reading
from reconciler.manifests.documents import Draft, Reader
from reconciler.manifests.nodes import Places
from reconciler.manifests.patches import Patches
from reconciler.manifests.policy import PolicyFile, blob_of_policy, read_policy
from reconciler.manifests.resolve import Choice, UnknownEnvironmentError, choose
from reconciler.manifests.secrets import (
    Around,
    NoSecrets,
    Provider,
    SecretAccess,
    Secrets,
    command_provider,
    provider,
)
from reconciler.manifests.validate import Declared
from reconciler.manifests.variables import Scope, SecretReader, substitute_document
from reconciler.model.desired import DesiredState, Document
from reconciler.model.problems import Problem, Severity
from reconciler.model.snapshot import File, Snapshot
from reconciler.model.values import Masked, Secret


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What the manifests alone don't say.

    Attributes:
        environment: `--env`.
        secret_env: environment variables that the `env` providers may read.
        secret_access: what opens the places of secrets.
        base_dir: the tree's directory where it is one on disk; a secret directory lies outside it.
        no_secrets: read none; their values are `MASKED`.
        policy_from: take `reconciler.yaml` from this tree.
        cache: what files declared at earlier loads.
        offline: warn of references that leave the tree; online the server is asked instead.
        limits: how much a file may hold.
    """

    environment: str | None = None
    secret_env: Mapping[str, str] = field(default_factory=dict)
    secret_access: SecretAccess = field(default_factory=SecretAccess)
    base_dir: Path | None = None
    no_secrets: bool = False
    policy_from: Snapshot | None = None
    cache: ReadCache = field(default_factory=ReadCache)
    offline: bool = False
    limits: marks.Limits = field(default_factory=marks.Limits)


def load(snapshot: Snapshot, options: LoadOptions, kinds: Sequence[Kind]) -> DesiredState:
    """Read, resolve and check a tree.

    Raises:
        InvalidManifests: it has problems; all of them are listed, sorted by place.
        SourceError: a file can't be read any more.
    """
    loading = _Loading(options, read_policy(options.policy_from or snapshot, options.limits))
    choice = loading.choose()
    selection = files.select(snapshot, choice.folders, options.limits)
    loading.problems.extend(selection.problems)
    declared, duplicates = validate.unique(loading.read(snapshot, selection.files, choice, kinds))
    declarations = {key: one.declaration for key, one in declared.items()}
    loading.problems.extend([*duplicates, *validate.cycles(declared)])
    loading.problems.extend(entrypoints.misfits(declarations.values(), snapshot))
    if options.offline:
        loading.problems.extend(validate.unresolved(declarations))
    return DesiredState(
        revision=snapshot.revision,
        digest=validate.digest(declared, choice.policy, options.environment),
        declarations=declarations,
        files=validate.files_of([file.path for file in selection.files], declarations),
        policy=choice.policy,
        warnings=loading.warnings(),
        origin=snapshot.origin,
        verified=snapshot.verified,
        commit=snapshot.commit,
        secrets_read=not options.no_secrets,
        prints={key: one.print for key, one in declared.items()},
    )


class _Loading:
    """One load and the problems that it found so far."""

    def __init__(self, options: LoadOptions, policy: PolicyFile) -> None:
        self.options = options
        self.policy = policy
        self.problems: list[Problem] = list(policy.problems)

    def choose(self) -> Choice:
        """Apply the environment."""
        try:
            return choose(self.policy.policy, self.options.environment)
        except UnknownEnvironmentError as error:
            place = self.policy.at("environments")
            self.problems.append(Problem(place, str(error), error.hint))
            return choose(self.policy.policy, None)

    def read(
        self, snapshot: Snapshot, chosen: Sequence[File], choice: Choice, kinds: Sequence[Kind]
    ) -> list[Declared]:
        """Return what the files declare."""
        cache, environment = self.options.cache, self.options.environment
        # By the file's bytes: what a patch gives a document has its place in that file, too.
        policy = blob_of_policy(self.options.policy_from or snapshot)
        cache.under(repr((policy, environment, self.options.no_secrets, self.options.limits)))
        patches, used = Patches(self.policy, choice, environment), set[int]()
        self.problems.extend(patches.problems)
        secrets = self._secrets(choice, snapshot)
        declared: list[Declared] = []
        for file in chosen:
            reading = cache.get(file.path, file.blob)
            if reading is None:
                one = _FileReading(self.options, choice, patches, secrets, kinds)
                reading = one.read(file, snapshot.contents.read(file))
                if not one.secrets.asked:
                    cache.put(file.path, file.blob, reading)
            used |= reading.patches
            self.problems.extend(reading.problems)
            declared.extend(reading.declared)
        cache.retain({file.path for file in chosen})
        if not self.problems:  # a document with a problem has no key that a target could name
            self.problems.extend(patches.unused(used))
        return declared

    def _secrets(self, choice: Choice, snapshot: Snapshot) -> SecretReader:
        options = self.options
        access = options.secret_access
        around = Around(options.secret_env, options.base_dir, partial(_bytes_of, snapshot), access)
        providers: list[Provider] = []
        for index, source in enumerate(choice.policy.secrets):
            made = provider(source, around)
            if isinstance(made, tuple):
                self.problems.append(Problem(self.policy.at("secrets", index), *made))
            else:
                providers.append(made)
        last = command_provider(access)
        if last is not None:
            providers.append(last)
        return NoSecrets() if options.no_secrets else Secrets(providers)

    def warnings(self) -> tuple[Problem, ...]:
        """Return the warnings, in file order.

        Raises:
            InvalidManifests: there are errors.
        """
        found = sorted(self.problems, key=lambda p: (p.place, p.message))
        if any(problem.severity is Severity.ERROR for problem in found):
            raise InvalidManifests(found)
        return tuple(found)


class _Asked:
    """Hands secrets out, and remembers that somebody asked."""

    def __init__(self, secrets: SecretReader) -> None:
        self.asked = False
        self._secrets = secrets

    def get(self, name: str) -> Secret | Masked:
        """Return a secret, as `SecretReader` does."""
        self.asked = True
        return self._secrets.get(name)


class _FileReading:
    """One file from bytes to declarations."""

    def __init__(
        self,
        options: LoadOptions,
        choice: Choice,
        patches: Patches,
        secrets: SecretReader,
        kinds: Sequence[Kind],
    ) -> None:
        self.secrets = _Asked(secrets)
        self._options = options
        self._choice = choice
        self._patches = patches
        self._kinds = kinds
        self._problems: list[Problem] = []

    def read(self, file: File, data: bytes) -> Reading:
        """Resolve a file's documents and let their kinds check them."""
        content = marks.read(data, self._options.limits)
        self._problems.extend(flaw.problem(file.path) for flaw in content.flaws)
        declared: list[Declared] = []
        used: set[int] = set()
        reader = Reader(self._kinds, self._problems)
        for root in content.documents:
            for draft in reader.drafts(file.path, root):
                document = self._patches.apply(draft.kind, self._document(draft), used)
                found, problems = validate.declare(validate.Resolved(draft.kind, document))
                declared.extend(map(Declared.of, found))
                self._problems.extend(problems)
        return Reading(tuple(declared), tuple(self._problems), frozenset(used))

    def _document(self, draft: Draft) -> Document:
        scope = Scope(draft.file, self._choice.policy.vars, self.secrets, self._problems)
        value = substitute_document(draft.node, scope)
        assert isinstance(value, Mapping)  # noqa: S101 - a draft is a mapping
        place = draft.node.mark.place(draft.file)
        return Document(value, place, Places(draft.file, draft.node), draft.shape)


def _bytes_of(snapshot: Snapshot, path: str) -> bytes | None:
    file = next((one for one in snapshot.files if one.path == path), None)
    return None if file is None else snapshot.contents.read(file)
