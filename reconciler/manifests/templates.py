"""Prefect's own `{{ … }}` in an item of `prefect.yaml`: what `prefect deploy` would do about it.

Source: `prefect deploy` of 2.20.26 and 3.8.8 (read and tried). It puts blocks, variables, environment
variables and the outputs of build steps in; pull steps, and what an event gives to a trigger, wait
until a run starts. We read no environment but what `vars` names, run no steps, and copy no block
(Prefect would write its secrets into the deployment in plain text); a worker fills in what stands in
`job_variables`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.manifests.nodes import Entry, Node
from reconciler.model.problems import Problem

_PLACEHOLDER = re.compile(r"(?<!\$)\{\{\s*(?P<name>[^{}]*?)\s*\}\}")
_ENVIRONMENT = re.compile(r"(?<!\$)\{\{\s*\$(?P<name>\w+)\s*\}\}", re.ASCII)
_LATER = ("pull", "triggers")
"""Filled in when a run starts."""
_STEPS = ("build", "push")
"""Passed over as a whole."""
_AT_START = ("prefect.", "ctx.")
"""What a worker fills in, in job variables."""


@dataclass(frozen=True, slots=True)
class Translated:
    """An item of `deployments:` whose environment variables are `${{ vars.NAME }}` now."""

    node: Node
    problems: tuple[Problem, ...] = ()


def translated(item: Node, file: str, project: Mapping[str, Entry]) -> Translated:
    """Translate an item of `deployments:`; say what can't be filled in.

    Args:
        item: with the pull steps of the project, if it has none of its own.
        file: for places.
        project: the whole file, whose steps are named.
    """
    if not isinstance(item.items, dict):
        return Translated(item)
    kept = {k: entry for k, entry in item.items.items() if k in _STEPS or k == "pull"}
    changed = {k: Entry(e.mark, _with_vars(e.node)) for k, e in item.items.items() if k not in kept}
    not_run = {*_step_ids(project), *_step_ids(item.items)}
    problems = [
        _problem(node, name, file)
        for key, entry in {**kept, **changed}.items()
        if key not in _STEPS
        for path, node, name in _placeholders(entry.node, (key,))
        if not _filled_in_later(path, name, not_run)
    ]
    entries = {k: kept.get(k) or changed[k] for k in item.items}
    return Translated(_mapping(item, entries), tuple(problems))


def _filled_in_later(path: tuple[str, ...], name: str, not_run: set[str]) -> bool:
    if path[0] in _LATER:
        return name.partition(".")[0] not in not_run
    return path[:2] == ("work_pool", "job_variables") and name.startswith(_AT_START)


def _step_ids(entries: Mapping[str, Entry]) -> Iterator[str]:
    """Yield what the build and push steps call themselves: `- <step>: {id: …}`."""
    for key in _STEPS:
        steps = entries[key].node.value if key in entries else None
        for step in steps if isinstance(steps, list) else ():
            for options in step.values() if isinstance(step, dict) else ():
                if isinstance(options, dict) and isinstance(options.get("id"), str):
                    yield options["id"]


def _with_vars(node: Node) -> Node:
    """Return the same tree with `${{ vars.NAME }}` for every `{{ $NAME }}`."""
    if isinstance(node.items, dict):
        entries = {k: Entry(e.mark, _with_vars(e.node)) for k, e in node.items.items()}
        return _mapping(node, entries)
    if isinstance(node.items, list):
        items = [_with_vars(one) for one in node.items]
        dynamic = any(one.dynamic for one in items)
        return Node(node.mark, [one.value for one in items], items, node.weight, dynamic)
    if not isinstance(node.value, str) or not _ENVIRONMENT.search(node.value):
        return node
    text = _ENVIRONMENT.sub(r"${{ vars.\g<name> }}", node.value)
    return Node(node.mark, text, None, node.weight, dynamic=True)


def _mapping(node: Node, entries: dict[str, Entry]) -> Node:
    value = {key: entry.node.value for key, entry in entries.items()}
    dynamic = any(entry.node.dynamic or "${{" in key for key, entry in entries.items())
    return Node(node.mark, value, entries, node.weight, dynamic)


def _placeholders(node: Node, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Node, str]]:
    if isinstance(node.items, dict):
        for key, entry in node.items.items():
            yield from _placeholders(entry.node, (*path, key))
    elif isinstance(node.items, list):
        for item in node.items:
            yield from _placeholders(item, path)
    elif isinstance(node.value, str):
        for found in _PLACEHOLDER.finditer(node.value):
            yield path, node, found["name"]


def _problem(node: Node, name: str, file: str) -> Problem:
    place = node.mark.place(file)
    if name.startswith("prefect."):
        text = (
            f"{{{{ {name} }}}} would stay as it is here: only job_variables and pull are filled in"
        )
        return Problem(place, text, "use ${{ vars.NAME }} or ${{ secrets.NAME }}")
    if name.startswith("ctx."):
        text = f"{{{{ {name} }}}} would stay as it is here: only job_variables are filled in"
        return Problem(place, text, "use ${{ vars.NAME }}")
    text = f"{{{{ {name} }}}} is what a build or push step would give, and no steps are run here"
    return Problem(place, text, "write the value, or ${{ vars.NAME }}")
