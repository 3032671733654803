"""The files that `reconciler init` writes."""

import json
import re
from pathlib import Path
from typing import Any

from reconciler.errors import UsageError
from reconciler.kinds import KINDS
from reconciler.manifests.schemas import json_schema

_MANIFEST_SCHEMA, _POLICY_SCHEMA = ".schemas/manifest.json", ".schemas/policy.json"
_MODELINE = "# yaml-language-server: $schema="

_POLICY = """\
# The policy of this repository. Every setting: `reconciler schema Policy`.
name: {name}            # the inventory; what it owns is deleted only when it vanishes from here
drift: heal             # or report: show what changed in the API, but leave it
prune: {{enabled: true, max_deletes: 10, max_share: 30%}}
secrets:
  - env: RECONCILER_SECRET_        # ${{{{ secrets.TOKEN }}}} reads RECONCILER_SECRET_TOKEN
environments:
  dev: {{}}
"""

_BLOCK = """\
kind: Block
block_type_slug: process
name: local
data:
  stream_output: true
  env: {GREETING: Hello}
"""

_DEPLOYMENT = """\
kind: Deployment
flow_name: hello
name: hourly
description: Says hello once an hour.
entrypoint: flows/hello.py:hello
path: $STORAGE_BASE_PATH            # flow code comes from the applied commit of this repository
infrastructure: process/local
infra_overrides: {env.GREETING: Good day}
work_queue_name: default
schedules:
  - {cron: "0 * * * *", timezone: Europe/London}
parameters: {name: world}
tags: [starter]
"""

_FLOW = '''\
"""A first flow."""

import os

from prefect import flow


@flow(log_prints=True)
def hello(name: str = "world") -> str:
    """Greet somebody."""
    text = f"{os.environ.get('GREETING', 'Hello')}, {name}!"
    print(text)
    return text
'''

_GITHUB = """\
# Shows in each pull request what merging it would change, and marks its newest commit.
name: reconciler
# With pull_request_target forks get their comment, too. That is safe as long as nothing of the pull
# request is checked out or run: `reconciler` reads its files as data, no secret of the
# repository's manifests, and the policy of the target branch.
on: [pull_request_target]
permissions: {contents: read, pull-requests: write, statuses: write}
concurrency: {group: "reconciler-${{ github.event.number }}", cancel-in-progress: true}
jobs:
  plan:
    runs-on: ubuntu-latest
    env:
      PREFECT_API_URL: ${{ secrets.PREFECT_API_URL }}
      PREFECT_API_KEY: ${{ secrets.PREFECT_API_KEY }}
      NUMBER: ${{ github.event.number }}
      TARGET: ${{ github.base_ref }}
    steps:
      - uses: actions/checkout@v4
        with: {fetch-depth: 0}
      - uses: actions/setup-python@v5
        with: {python-version: "3.12"}
      - run: pip install prefect-reconciler
      - run: git fetch origin "pull/$NUMBER/head:refs/heads/under-review"
      - run: >
          reconciler validate --repo . --ref under-review --no-secrets --policy-from "$TARGET"
          --format github
      - if: ${{ !cancelled() }}
        run: >
          reconciler plan --repo . --ref under-review --no-secrets --policy-from "$TARGET"
          --format markdown > plan.md
      - if: ${{ !cancelled() }}
        env: {GH_TOKEN: "${{ github.token }}"}
        run: reconciler ci comment plan.md
"""

_GITLAB = """\
# Shows in each merge request what merging it would change, and marks its newest commit.
# Variables: PREFECT_API_URL, PREFECT_API_KEY, and GITLAB_TOKEN, a project access token with the
# scope `api`. No secret of the repository's manifests is read, and the policy is the target
# branch's.
plan:
  image: python:3.12-slim
  rules: [{if: "$CI_PIPELINE_SOURCE == 'merge_request_event'"}]
  variables: {GIT_DEPTH: "0"}
  before_script:
    - apt-get update -qq && apt-get install -y -qq --no-install-recommends git
    - pip install prefect-reconciler
  script:
    - git fetch origin "$CI_MERGE_REQUEST_TARGET_BRANCH_NAME"
    - reconciler plan --no-secrets --policy-from "origin/$CI_MERGE_REQUEST_TARGET_BRANCH_NAME" --format markdown > plan.md
  after_script:
    - reconciler ci comment plan.md
  artifacts: {paths: [plan.md], when: always}
"""

_IGNORE = """\
# Not manifests (gitignore syntax).
.github/
"""


def write_starter(directory: Path, name: str | None) -> tuple[list[Path], list[Path]]:
    """Write the starter repository.

    Args:
        directory: where; made if missing.
        name: of the inventory; by default made of the directory's name.

    Returns:
        The files written, and those that existed and were left alone.

    Raises:
        UsageError: if the name can't be one, or the directory can't be written to.
    """
    chosen = name or _name_of(directory)
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", chosen):
        raise UsageError(
            f"{chosen!r} is no name for an inventory", hint="lower-case letters, digits and dashes"
        )
    written: list[Path] = []
    kept: list[Path] = []
    for path, text in _files(chosen).items():
        target = directory / path
        if target.exists():
            kept.append(target)
            continue
        _write(target, text)
        written.append(target)
    return written, kept


def _write(target: Path, text: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{target} can't be written: {error.strerror}") from None


def _name_of(directory: Path) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", directory.resolve().name.lower()).strip("-")
    return slug or "starter"


def _files(name: str) -> dict[str, str]:
    manifest = f"{_MODELINE}../{_MANIFEST_SCHEMA}\n"
    return {
        "reconciler.yaml": f"{_MODELINE}{_POLICY_SCHEMA}\n{_POLICY.format(name=name)}",
        ".reconcilerignore": _IGNORE,
        _MANIFEST_SCHEMA: _json(json_schema(KINDS)),
        _POLICY_SCHEMA: _json(json_schema(KINDS, "Policy")),
        "blocks/local.yaml": manifest + _BLOCK,
        "deployments/hello.yaml": manifest + _DEPLOYMENT,
        "flows/hello.py": _FLOW,
        ".github/workflows/reconciler.yaml": _GITHUB,
        ".gitlab-ci.yml": _GITLAB,
    }


def _json(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2) + "\n"
