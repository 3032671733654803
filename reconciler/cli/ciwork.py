"""What `reconciler ci comment` does."""

import re
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reconciler import outgoing
from reconciler.app import App
from reconciler.app.statuses import token_of
from reconciler.cli import console
from reconciler.cli.begin import begin
from reconciler.cli.render.markdown import LIMIT, Gist, gist, nothing
from reconciler.errors import UsageError
from reconciler.forge import CommitStatus, Forge, Project, Verdict, forge_of
from reconciler.settings import CiJob, ci_job

_PATIENCE = 60.0
_LONGEST = LIMIT + 4000
_NAME = re.compile(r"[\w./() -]{1,80}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line says; None is left to the job."""

    file: Path
    name: str
    number: int | None = None
    commit: str | None = None
    status: bool = True


async def comment(wish: Wish, verbose: int) -> None:
    """Write the comment, and set the status.

    Raises:
        ReconcilerError: one of them did not go.
    """
    app = begin(verbose)
    job = ci_job(app.environ)
    if _NAME.fullmatch(wish.name) is None or "--" in wish.name:
        raise UsageError(
            f"--name: {wish.name!r} can't be one",
            hint="letters, digits, dots, slashes, single dashes",
        )
    number, commit = _request(wish, job)
    text = _read(wish.file)
    told = gist(text) if text.strip() else Gist(failed=True, text="no plan could be made")
    async with outgoing.client() as http:
        forge = forge_of(http, _project(app, job), partial(_token, app, job))
        body = text if text.strip() else nothing(job.link)
        write = partial(forge.comment, number, f"<!-- reconciler: {wish.name} -->", body)
        where = await outgoing.patiently(write, app.clock, _PATIENCE)
        console.say(f"[green]✓[/] wrote the comment {where}")
        if wish.status and commit is not None:
            await _mark(
                app, forge, commit, CommitStatus(_verdict(told), told.text, wish.name, job.link)
            )


async def _mark(app: App, forge: Forge, commit: str, status: CommitStatus) -> None:
    mark = partial(forge.mark, commit, status)
    await outgoing.patiently(mark, app.clock, _PATIENCE)
    console.say(f"[green]✓[/] marked {commit[:12]}: {status.verdict.value}, {status.text}")


def _verdict(told: Gist) -> Verdict:
    return Verdict.FAILURE if told.failed else Verdict.SUCCESS


def _request(wish: Wish, job: CiJob) -> tuple[int, str | None]:
    number = wish.number or job.number
    if number is None:
        raise UsageError(
            "this is no job of a pull request",
            hint="give --number, or run it on pull requests only",
        )
    commit = wish.commit or job.commit
    if commit is None and wish.status:
        raise UsageError("which commit gets the status?", hint="give --commit, or --no-status")
    return number, commit


def _project(app: App, job: CiJob) -> Project:
    own = app.settings.forge
    kind, api, path = own.kind or job.kind, own.url or job.api, own.project or job.project
    if kind is None or api is None or path is None:
        raise UsageError(
            "where is the pull request?",
            hint="outside of a CI job set RECONCILER_FORGE, RECONCILER_FORGE_URL"
            " and RECONCILER_FORGE_PROJECT",
        )
    return Project(kind, api, path)


def _token(app: App, job: CiJob) -> str:
    found = token_of(app.settings.forge) or job.token
    if not found:
        raise UsageError(
            "there is no token for the forge",
            hint="set GH_TOKEN, GITLAB_TOKEN or RECONCILER_FORGE_TOKEN",
        )
    return found


def _read(file: Path) -> str:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} can't be read: {error}") from None
    if len(text) > _LONGEST:
        raise UsageError(
            f"{file} has {len(text)} characters, more than a comment holds",
            hint="take what `reconciler plan --format markdown` writes: it fits",
        )
    return text
