"""The door to GitPython: git, run with a clean environment and nobody to ask."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryFile
from typing import IO, Any, cast

from reconciler.errors import SourceError

# Variables that would point git to another repository, inject configuration, run programs or
# write secrets into trace output (git(1), "Environment Variables"). Certificates and proxies stay.
_UNSET = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CURL_VERBOSE",
    "GIT_DIR",
    "GIT_EXEC_PATH",
    "GIT_EXTERNAL_DIFF",
    "GIT_GLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_INDEX_FILE",
    "GIT_LITERAL_PATHSPECS",
    "GIT_NAMESPACE",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_PROXY_COMMAND",
    "GIT_QUARANTINE_PATH",
    "GIT_SHALLOW_FILE",
    "GIT_SSH",
    "GIT_TEMPLATE_DIR",
    "GIT_TRACE",
    "GIT_TRACE2",
    "GIT_TRACE2_EVENT",
    "GIT_TRACE2_PERF",
    "GIT_TRACE_CURL",
    "GIT_TRACE_CURL_NO_DATA",
    "GIT_TRACE_PACKET",
    "GIT_TRACE_REDACT",
    "GIT_WORK_TREE",
)

_ENVIRONMENT = {
    "GIT_ASKPASS": "",  # set but empty: no program is asked, not even SSH_ASKPASS
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_SSH_VARIANT": "ssh",
    "GIT_TERMINAL_PROMPT": "0",
    "SSH_ASKPASS_REQUIRE": "never",
}

# Nothing that a repository configures may run. Its owner does not matter then, so a mounted
# directory of another user can be read.
_CONFIG = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("safe.directory", "*"),
    ("gc.autoDetach", "false"),
    ("protocol.version", "2"),
)


_NOT_FOUND = 127  # what env(1) says of a missing program


class GitFailed(Exception):  # noqa: N818 - a fact inside this package; users get a classified error
    """A git command ended with an error.

    Attributes:
        status: the exit code; negative for a signal.
        stderr: what git said, in English; may hold credentials from URLs.
    """

    def __init__(self, status: int, stderr: str) -> None:
        super().__init__(f"git ended with {status}")
        self.status = status
        self.stderr = stderr


@dataclass(frozen=True, slots=True)
class Git:
    """git, in one directory.

    Attributes:
        directory: where it runs.
        protocols: transports that it may use, colon separated; none for local work, so that
            nothing is ever fetched behind our back.
        config: more (key, value) pairs. They travel in the environment, never on the command
            line, where every user of the machine could read them.
        environment: more variables.
    """

    directory: Path
    protocols: str = ""
    config: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def run(self, *args: str, stdin: bytes = b"", timeout: float | None = None) -> bytes:
        """Run a command to its end and return its output.

        Args:
            args: what follows `git`.
            stdin: what it reads.
            timeout: seconds after which it is killed.

        Raises:
            GitFailed: it ended with an error or was killed.
            SourceError: git is not installed.
        """
        with TemporaryFile() as given:
            given.write(stdin)
            given.seek(0)
            status, out, err = self._execute(args, istream=given, timeout=timeout)
        if status and timeout and err.startswith("Timeout: "):  # GitPython's words for a kill
            err = f"no answer within {timeout:g} seconds"
        if status == _NOT_FOUND:
            raise _missing()
        if status:
            raise GitFailed(status, err)
        return out

    def start(self, *args: str) -> Popen[bytes]:
        """Start a command and return it with open pipes; whoever asked for it ends it."""
        git = _gitpython()
        guard = git.Git(str(self.directory)).execute(
            [*self._command(), *args], istream=PIPE, as_process=True, env=self._environment()
        )
        # GitPython's guard would end the process when collected, too late to close it in order.
        process, guard.proc = guard.proc, None
        return cast("Popen[bytes]", process)

    def _execute(
        self, args: tuple[str, ...], *, istream: IO[bytes], timeout: float | None
    ) -> tuple[int, bytes, str]:
        git = _gitpython()
        status, out, err = git.Git(str(self.directory)).execute(
            [*self._command(), *args],
            istream=istream,
            env=self._environment(),
            with_extended_output=True,
            with_exceptions=False,
            stdout_as_string=False,
            strip_newline_in_stdout=False,
            kill_after_timeout=timeout,
        )
        return status, out, err if isinstance(err, str) else err.decode(errors="replace")

    def _command(self) -> tuple[str, ...]:
        unset = (name for name in _UNSET if name not in self.environment)
        return ("env", *(word for name in unset for word in ("-u", name)), "git")

    def _environment(self) -> dict[str, str]:
        pairs = (*_CONFIG, *self.config)
        settings = {"GIT_CONFIG_COUNT": str(len(pairs))}
        for number, (key, value) in enumerate(pairs):
            settings[f"GIT_CONFIG_KEY_{number}"] = key
            settings[f"GIT_CONFIG_VALUE_{number}"] = value
        return {
            **_ENVIRONMENT,
            "GIT_ALLOW_PROTOCOL": self.protocols,
            **settings,
            **self.environment,
        }


def _gitpython() -> Any:
    """Import GitPython when it is needed: it starts git on import and fails without it."""
    try:
        import git  # noqa: PLC0415
    except ImportError:
        raise _missing() from None
    return git


def _missing() -> SourceError:
    return SourceError("git is not installed", hint="install git 2.34 or later")
