"""Rules that hold for every pair of trees."""

import contextlib
import json
from functools import partial

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.engine import cause, diff
from reconciler.model import paths
from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.keys import Key
from reconciler.model.plan import Action
from reconciler.model.values import ABSENT, Ref, Secret, references
from tests.fakes.bench import Bench, declare, tree
from tests.fakes.prefect_memory import Killed, kill_at

CANARY = "canary-7d1f2e"
BLOCKS = [Key.of("block", "process", name) for name in "abc"]
DEPLOYMENTS = [Key.of("deployment", "etl", name) for name in "xy"]
NAMES = st.sampled_from(["A", "b.c", "__d", "e-f", "$g"])
PRINTS = Fingerprinter(b"key")

scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "v", "0"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=5,
)
mappings = st.dictionaries(NAMES, values, max_size=3)
secrets = st.just(CANARY).map(Secret) | st.just(f"{CANARY}-2").map(Secret)


@st.composite
def trees(draw):
    blocks = draw(st.lists(st.sampled_from(BLOCKS), unique=True, min_size=1))
    declarations = []
    for number, key in enumerate(sorted(blocks)):
        data = draw(mappings)
        if draw(st.booleans()):
            data = {**data, "password": draw(secrets), "env": {"TOKEN": draw(secrets)}}
        if number and draw(st.booleans()):
            data = {**data, "child": Ref(sorted(blocks)[number - 1])}
        declarations.append(declare(key, data=data))
    for key in draw(st.lists(st.sampled_from(DEPLOYMENTS), unique=True)):
        fields = {"parameters": draw(mappings), "tags": draw(st.lists(st.sampled_from("ab")))}
        if draw(st.booleans()):
            fields["infrastructure"] = Ref(draw(st.sampled_from(blocks)))
        declarations.append(declare(key, **fields))
    return tree(*declarations)


calm = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
ALLOWED = {"allow_deletes": 100, "allow_cascade": ("*",)}


def run(function, *args, **options):
    return anyio.run(partial(function, *args, **options))


def agrees(bench, desired):
    found = {o["key"]: o["id"] for o in bench.server.objects.values()}
    assert sorted(found) == sorted(str(key) for key in desired.declarations)
    assert len(bench.server.objects) == len(found)
    entries = run(bench.entries)
    assert {str(e.key): e.id for e in entries.values()} == found


@calm
@given(trees(), trees())
def test_apply_then_plan_is_empty(before, after):
    bench = Bench()
    for desired in (before, after, before):
        report = run(bench.apply, desired, **ALLOWED)
        assert report.converged, report.to_json()
        assert run(bench.plan, desired).empty
        agrees(bench, desired)


@calm
@given(trees(), trees(), st.integers(1, 60), st.sampled_from(["before", "after"]))
def test_a_kill_anywhere_leaves_nothing_orphaned_doubled_or_forgotten(before, after, at, moment):
    bench = Bench()
    run(bench.apply, before, **ALLOWED)
    with contextlib.suppress(Killed, BaseExceptionGroup):
        run(bench.apply, after, kill_at(at, moment), **ALLOWED)
    assert run(bench.apply, after, **ALLOWED).converged
    assert run(bench.plan, after).empty
    agrees(bench, after)


@calm
@given(trees(), trees())
def test_deletes_reverse_creates(before, after):
    bench = Bench()
    created = run(bench.plan, before).levels
    run(bench.apply, before, **ALLOWED)
    plan = run(bench.plan, after, **ALLOWED)
    doomed = {c.key for c in plan.changes if c.action is Action.DELETE}
    place = {key: number for number, level in enumerate(created) for key in level}
    deletes = [key for level in plan.levels for key in level if key in doomed]
    writes = [key for level in plan.levels for key in level if key not in doomed]
    assert [key for level in plan.levels for key in level] == writes + deletes
    for key in doomed:
        for ref in _targets(before, key) & doomed:
            assert deletes.index(key) < deletes.index(ref)
            assert place[ref] < place[key]


def _targets(desired, key):
    return {ref.key for ref in references(desired.declarations[key].fields)}


@calm
@given(trees(), trees(), mappings)
def test_a_secret_never_appears_in_any_output(before, after, drift):
    bench = Bench()
    outputs = [run(bench.plan, before), run(bench.apply, before, **ALLOWED)]
    for thing in bench.server.objects.values():
        data = thing["fields"].get("data", {})
        if "password" in data:  # somebody copies the secret elsewhere
            copied = data["password"]
            data |= {**drift, "password": copied, "copy": copied, "list": [f"x{copied}y"]}
    outputs += [run(bench.plan, after, **ALLOWED), run(bench.apply, after, **ALLOWED)]
    for output in outputs:
        assert CANARY not in json.dumps(output.to_json()) + repr(output)
    assert CANARY not in bench.server.text()


@calm
@given(trees(), trees())
def test_the_digest_is_the_same_for_the_same_input(before, after):
    bench = Bench()
    run(bench.apply, before, **ALLOWED)
    digest = run(bench.plan, after).digest
    assert run(bench.plan, after).digest == digest
    assert (run(bench.plan, before).digest == digest) == (before.digest == after.digest)


@given(mappings, mappings)
def test_trees_differ_exactly_where_their_leaves_do(before, after):
    found = {paths.spell(keys) for keys in diff.differing(before, after, PRINTS)}
    leaves = [
        {path: PRINTS.of(leaf) for path, leaf in paths.leaf_paths(side)} for side in (before, after)
    ]
    moved = {
        path
        for path in leaves[0].keys() | leaves[1].keys()
        if leaves[0].get(path) != leaves[1].get(path)
    }
    assert bool(found) == bool(moved)
    assert all(any(paths.related(path, other) for other in moved) for path in found)
    assert all(any(paths.related(path, other) for other in found) for path in moved)


@given(mappings, mappings)
def test_putting_every_difference_makes_trees_equal(before, after):
    merged = before
    for keys in diff.differing(before, after, PRINTS):
        merged = paths.put(merged, keys, paths.at(after, keys))
    changed = {p: PRINTS.of(v) for p, v in paths.leaf_paths(merged) if v != {}}
    assert changed == {p: PRINTS.of(v) for p, v in paths.leaf_paths(after) if v != {}}


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_a_path_that_is_spelt_can_be_split(keys):
    assert paths.split(paths.spell(keys)) == tuple(keys)


@given(mappings, st.lists(NAMES, min_size=1, max_size=3), values)
def test_what_is_put_is_there_and_taken_out_it_is_not(data, keys, value):
    assert paths.at(paths.put(data, keys, value), keys) == value
    assert paths.at(paths.put(data, keys, ABSENT), keys) is ABSENT


@given(mappings)
def test_nothing_moved_where_nothing_changed(data):
    prints = {path: PRINTS.of(leaf) for path, leaf in paths.leaf_paths(data)}
    assert not any(cause.moved(prints, prints, path) for path in prints)
