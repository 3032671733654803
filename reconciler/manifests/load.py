"""A tree to the desired state, or every problem in it at once (DESIGN 5 and 6.1).

    policy    = read_policy        reconciler.yaml
    choice    = choose             the environment: variables, patches, folders
    drafts    = read               files to documents of known kinds, with places
    resolved  = resolve            variables, secrets and patches
    desired   = validate           each document by its kind, then all of them together

A problem in one document never hides those of another.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from reconciler.errors import InvalidManifests
from reconciler.kinds.base import Kind
from reconciler.manifests import entrypoints, files, marks, validate
from reconciler.manifests.cache import ParseCache
from reconciler.manifests.documents import Draft, Reader
from reconciler.manifests.nodes import Content, Places
from reconciler.manifests.patches import Patches
from reconciler.manifests.policy import PolicyFile, read_policy
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
from reconciler.manifests.variables import Scope, SecretReader, substitute_document
from reconciler.model.desired import Declaration, DesiredState, Document
from reconciler.model.problems import Problem, Severity
from reconciler.model.snapshot import File, Snapshot


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
        cache: parse results of earlier loads.
        offline: warn of references that leave the tree; online the server is asked instead.
        limits: how much a file may hold.
    """

    environment: str | None = None
    secret_env: Mapping[str, str] = field(default_factory=dict)
    secret_access: SecretAccess = field(default_factory=SecretAccess)
    base_dir: Path | None = None
    no_secrets: bool = False
    policy_from: Snapshot | None = None
    cache: ParseCache = field(default_factory=ParseCache)
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
    drafts = list(loading.read(snapshot, selection.files, kinds))
    declared = loading.declare(drafts, choice, snapshot)
    declarations, duplicates = validate.unique(declared)
    loading.problems.extend([*duplicates, *validate.cycles(declarations)])
    loading.problems.extend(entrypoints.misfits(declarations.values(), snapshot))
    if options.offline:
        loading.problems.extend(validate.unresolved(declarations))
    return DesiredState(
        revision=snapshot.revision,
        digest=validate.digest(declarations, choice.policy, options.environment),
        declarations=declarations,
        files=validate.files_of([file.path for file in selection.files], declarations),
        policy=choice.policy,
        warnings=loading.warnings(),
        origin=snapshot.origin,
        verified=snapshot.verified,
        commit=snapshot.commit,
        secrets_read=not options.no_secrets,
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
        self, snapshot: Snapshot, chosen: Sequence[File], kinds: Sequence[Kind]
    ) -> Iterator[Draft]:
        """Yield the documents of the files."""
        reader = Reader(kinds, self.problems)
        for file in chosen:
            content = self._content(snapshot, file)
            self.problems.extend(flaw.problem(file.path) for flaw in content.flaws)
            for root in content.documents:
                yield from reader.drafts(file.path, root)

    def _content(self, snapshot: Snapshot, file: File) -> Content:
        content = self.options.cache.get(file.blob)
        if content is None:
            content = marks.read(snapshot.contents.read(file), self.options.limits)
            self.options.cache.put(file.blob, content)
        return content

    def declare(
        self, drafts: Sequence[Draft], choice: Choice, snapshot: Snapshot
    ) -> list[Declaration]:
        """Resolve the documents and let their kinds check them."""
        secrets = self._secrets(choice, snapshot)
        patches = Patches(self.policy, choice, self.options.environment)
        self.problems.extend(patches.problems)
        declared: list[Declaration] = []
        for draft in drafts:
            document = patches.apply(draft.kind, self._document(draft, choice, secrets))
            found, problems = validate.declare(validate.Resolved(draft.kind, document))
            declared.extend(found)
            self.problems.extend(problems)
        if not self.problems:  # a document with a problem has no key that a target could name
            self.problems.extend(patches.unused())
        return declared

    def _document(self, draft: Draft, choice: Choice, secrets: SecretReader) -> Document:
        scope = Scope(draft.file, choice.policy.vars, secrets, self.problems)
        value = substitute_document(draft.node, scope)
        assert isinstance(value, Mapping)  # noqa: S101 - a draft is a mapping
        place = draft.node.mark.place(draft.file)
        return Document(value, place, Places(draft.file, draft.node), draft.shape)

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


def _bytes_of(snapshot: Snapshot, path: str) -> bytes | None:
    file = next((one for one in snapshot.files if one.path == path), None)
    return None if file is None else snapshot.contents.read(file)
