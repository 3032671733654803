"""Which files of a tree are manifests."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from reconciler.manifests.content import decode
from reconciler.manifests.marks import Limits
from reconciler.manifests.nodes import Flaw, Mark
from reconciler.manifests.policy import FILE
from reconciler.model.problems import Problem, Severity
from reconciler.model.snapshot import File, Snapshot, by_path

IGNORE_FILE = ".reconcilerignore"
_SUFFIXES = (".yaml", ".yml")
_ELSEWHERE = "put the file itself there, or name it in .reconcilerignore"


@dataclass(frozen=True, slots=True)
class Selection:
    """The manifest files of a tree.

    Attributes:
        files: sorted by path.
        problems: files that can't be taken, links among them.
    """

    files: tuple[File, ...]
    problems: tuple[Problem, ...] = ()


def _nothing(_path: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Rules:
    """What leaves a path out, beside its name.

    Attributes:
        ignored: tells whether `.reconcilerignore` names a path.
        folders: those that belong to other environments.
    """

    ignored: Callable[[str], bool] = _nothing
    folders: tuple[str, ...] = ()

    def leave_out(self, path: str) -> bool:
        """Tell whether a path is no business of ours."""
        if path.startswith(".") or "/." in path or any(within(path, f) for f in self.folders):
            return True
        return self.ignored(path)


def within(path: str, folder: str) -> bool:
    """Tell whether a path is a folder or lies in it."""
    return path == folder or path.startswith(folder + "/")


def select(snapshot: Snapshot, folders: Sequence[str], limits: Limits) -> Selection:
    """Return the manifest files: YAML, not hidden, not ignored, not another environment's."""
    ignored, problems = _ignored(snapshot, limits)
    rules = Rules(ignored, tuple(folders))
    problems.extend(_passed_over(snapshot, rules))
    files = []
    for file in snapshot.files:
        if file.path == FILE or not file.path.endswith(_SUFFIXES) or rules.leave_out(file.path):
            continue
        if file.size > limits.size:
            message = f"{file.size:,} bytes, more than the {limits.size:,} that a manifest may have"
            hint = "split it, or name it in .reconcilerignore"
            problems.append(Problem(Mark().place(file.path), message, hint))
        else:
            files.append(file)
    return Selection(tuple(sorted(files, key=by_path)), tuple(problems))


def _passed_over(snapshot: Snapshot, rules: Rules) -> Iterator[Problem]:
    """Yield what the source left out and somebody may take for read."""
    for path, reason in snapshot.passed_over:
        if rules.leave_out(path):
            continue
        place = Mark().place(path)
        if path.endswith(_SUFFIXES):
            yield Problem(place, reason, _ELSEWHERE)
        elif "." not in path.rsplit("/", 1)[-1]:  # probably a folder
            yield Problem(place, f"not read: {reason}", _ELSEWHERE, Severity.WARNING)


def _ignored(snapshot: Snapshot, limits: Limits) -> tuple[Callable[[str], bool], list[Problem]]:
    file = next((file for file in snapshot.files if file.path == IGNORE_FILE), None)
    if file is None:
        return _nothing, []
    if file.size > limits.size:
        return _nothing, [
            Problem(Mark().place(IGNORE_FILE), "larger than a manifest may be", "gitignore syntax")
        ]
    text = decode(snapshot.contents.read(file))
    if isinstance(text, Flaw):
        return _nothing, [text.problem(IGNORE_FILE)]
    import pathspec  # noqa: PLC0415 - most trees have no such file

    try:
        return pathspec.GitIgnoreSpec.from_lines(text.splitlines()).match_file, []
    except ValueError as error:
        return _nothing, [Problem(Mark().place(IGNORE_FILE), str(error), "gitignore syntax")]
