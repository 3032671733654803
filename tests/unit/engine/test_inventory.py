"""What we own is recorded in the API, by shard, without a value."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from reconciler.engine.entries import FORMAT
from reconciler.engine.inventory import InventoryStore, forget, record_name
from reconciler.errors import (
    AnswerLost,
    Conflict,
    Forbidden,
    ForeignInventory,
    Unsupported,
    UsageError,
)
from reconciler.model.inventory import FEW, SHARDS, Entry, FieldMark
from reconciler.model.keys import Key
from reconciler.model.snapshot import Origin
from reconciler.model.values import MASKED, Secret
from tests.fakes.bench import BLOCK, DEPLOYMENT, Bench, declare, tree
from tests.fakes.prefect_memory import MemoryApi, MemoryPrefect

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HERE = Origin(("root",), "")


def entry(name="a", **fields):
    key = Key.of("block", "process", name)
    marks = {"data.env.A": FieldMark("d", "l", True, ("2026-01-01T00:00:00+00:00",))}
    return replace(Entry(key, f"id-{name}", NOW, "abc", "a.yaml", fields=marks), **fields)


def store(server, fault=None, name="prod", **options):
    return InventoryStore(MemoryApi(server, fault), name, **options)


async def filled(server, *entries, name="prod", origin=HERE):
    made = store(server, name=name)
    await made.load(origin)
    await made.save(put=entries)
    return made


async def test_what_is_saved_is_loaded():
    server = MemoryPrefect()
    entries = [entry(f"b{n}", prune=n % 2 == 0, suspend=n % 3 == 0) for n in range(40)]
    await filled(server, *entries)
    loaded = await store(server).load(HERE)
    assert dict(loaded.inventory.entries) == {e.key: e for e in entries}


@pytest.mark.parametrize(
    "edit",
    [
        {"shard": None},
        {"shard": "first"},
        {"shards": 0},
        {"shards": "many"},
        {"format": "new"},
        {"key": "no base 64!"},
        {"entries": {"block/process/a": "{"}},
        {"entries": {"block/process/a": "{}"}},
        {"entries": {"block/process/a": {"id": "1"}}},
        {"entries": {"nonsense": "{}"}},
        {"entries": ["block/process/a"]},
    ],
    ids=str,
)
async def test_an_inventory_edited_by_hand_is_named_and_nothing_guessed(edit):
    server = MemoryPrefect()
    await filled(server, entry("a"))
    (record,) = server.records("reconciler-inventory")
    record["data"] |= edit
    with pytest.raises(Conflict, match=f"{record['name']} can't be read"):
        await store(server).load(HERE)


async def test_another_inventory_that_was_edited_is_named_too():
    """What it owns must not be touched, and what that is can't be told."""
    server = MemoryPrefect()
    await filled(server, entry("a"), name="theirs")
    (record,) = server.records("reconciler-inventory")
    record["data"]["entries"] = {"block/process/a": "gone"}
    with pytest.raises(Conflict, match="theirs"):
        await store(server).load(HERE)


async def test_reading_takes_one_request_and_a_save_of_few_another():
    server = MemoryPrefect()
    mine = await filled(server, entry("a"), entry("b"))
    server.log.clear()
    await mine.load(HERE)
    assert len(server.log) == 1
    await mine.save(put=[entry("a", commit="def")])
    assert [r.method for r in server.log] == ["POST", "PATCH"]


async def test_the_key_outlives_the_process_and_the_fingerprints_with_it():
    server = MemoryPrefect()
    mine = await filled(server, entry())
    first = (await mine.load(HERE)).inventory
    again = (await store(server).load(HERE)).inventory
    assert first.fingerprinter.of("x") == again.fingerprinter.of("x")
    other = (await store(MemoryPrefect()).load(HERE)).inventory
    assert other.fingerprinter.of("x") != again.fingerprinter.of("x")
    assert (again.exists, other.exists) == (True, False)


async def test_dropped_entries_are_gone_and_an_empty_shard_stays_readable():
    server = MemoryPrefect()
    mine = await filled(server, entry())
    await mine.save(drop=[entry().key])
    assert dict((await store(server).load(HERE)).inventory.entries) == {}
    await mine.remove()
    assert server.records("reconciler-inventory") == []


async def test_a_key_that_may_not_be_read_is_refused_with_a_hint():
    server = MemoryPrefect()
    await filled(server, entry())
    for document in server.documents.values():
        document["data"]["key"] = "********"
    with pytest.raises(Forbidden) as error:
        await store(server).load(HERE)
    assert "--no-secrets" in error.value.hint
    loaded = await store(server, secrets=False).load(HERE)
    assert not loaded.inventory.exists
    assert loaded.inventory.entries[entry().key].fields["data.env.A"].secret


async def test_without_the_key_a_plan_shows_differences_and_no_others():
    bench = Bench()
    desired = tree(declare(BLOCK, data={"a": 1, "password": Secret("canary-one")}))
    await bench.apply(desired)
    for document in bench.server.documents.values():
        document["data"]["key"] = "********"
    masked = tree(declare(BLOCK, data={"a": 1, "password": MASKED}), secrets_read=False)
    assert (await bench.plan(masked, secrets=False)).empty
    masked = tree(declare(BLOCK, data={"a": 2, "password": MASKED}), secrets_read=False)
    plan = await bench.plan(masked, secrets=False)
    assert [f.path for f in plan.changes[0].fields] == ["data.a"]


@pytest.mark.parametrize("other", [Origin(("elsewhere",), ""), Origin(("root",), "dir"), Origin()])
async def test_another_repository_or_folder_is_refused_unless_it_takes_over(other):
    server = MemoryPrefect()
    await filled(server, entry("a"), entry("b"))
    with pytest.raises(ForeignInventory) as error:
        await store(server).load(other)
    assert "--take-over" in error.value.hint
    mine = store(server)
    assert (await mine.load(other, take_over=True)).stranger
    assert mine.taken_over
    await mine.claim()
    again = store(server)
    await again.load(other)
    assert not again.taken_over


async def test_a_take_over_is_written_by_the_next_apply_into_every_shard():
    bench = Bench()
    keys = [Key.of("block", "process", f"b{n}") for n in range(FEW + 20)]
    declarations = [declare(key, data={}) for key in keys]
    await bench.apply(tree(*declarations))
    moved = tree(*declarations[:-1], origin=Origin(("elsewhere",), "dir"))
    with pytest.raises(ForeignInventory):
        await bench.apply(moved)
    assert (await bench.apply(moved, take_over=True)).converged
    assert (await bench.plan(moved)).empty
    documents = bench.server.records("reconciler-inventory")
    assert [one["data"]["roots"] for one in documents] == [["elsewhere"]] * SHARDS


async def test_a_directory_that_becomes_a_repository_keeps_its_inventory():
    server = MemoryPrefect()
    await filled(server, entry(), origin=Origin())
    await store(server).load(HERE)


async def test_ids_of_other_inventories_are_known():
    server = MemoryPrefect()
    await filled(server, entry("a"), entry("b", id=None), name="other")
    assert (await store(server).load(HERE)).foreign == {"id-a": "other"}


async def test_a_newer_format_is_not_guessed_at():
    server = MemoryPrefect()
    await filled(server, entry())
    for document in server.documents.values():
        document["data"]["format"] = FORMAT + 1
    with pytest.raises(Unsupported):
        await store(server).load(HERE)


async def test_no_value_is_in_the_documents():
    bench = Bench()
    await bench.apply(
        tree(declare(BLOCK, data={"image": "plain-value", "password": Secret("canary-one")}))
    )
    text = bench.server.text()
    assert "data.password" in text
    assert "canary-one" not in text
    assert "plain-value" not in text


async def test_a_shard_that_somebody_deleted_is_made_again():
    server = MemoryPrefect()
    mine = await filled(server, entry())
    server.documents.clear()
    await mine.save(put=[entry(commit="def")])
    assert (await store(server).load(HERE)).inventory.entries[entry().key].commit == "def"


@pytest.mark.parametrize("path", ["/block_documents/", "/block_types/"])
async def test_a_create_whose_answer_was_lost_is_looked_up(path):
    server = MemoryPrefect()
    mine = store(server, lambda r: "lost" if r.path == path else None)
    await mine.load(HERE)
    await mine.save(put=[entry()])
    assert entry().key in (await store(server).load(HERE)).inventory.entries
    assert len(server.documents) == 1


async def test_a_create_that_did_not_arrive_is_an_error():
    server = MemoryPrefect()

    def unsent(request):
        if request.path == "/block_documents/":
            raise AnswerLost("no answer")

    mine = store(server, unsent)
    await mine.load(HERE)
    with pytest.raises(AnswerLost):
        await mine.save(put=[entry()])


async def test_a_block_type_of_our_name_and_another_slug_is_said():
    server = MemoryPrefect()

    class Odd(MemoryApi):
        async def post(self, path, body=None, **options):
            answer = await super().post(path, body, **options)
            return {**answer, "slug": "other"} if path == "/block_types/" else answer

    mine = InventoryStore(Odd(server), "prod")
    await mine.load(HERE)
    with pytest.raises(Conflict, match="can't be registered"):
        await mine.save(put=[entry()])


async def test_forget_drops_without_deleting_and_knows_near_names():
    bench = Bench()
    await bench.apply(tree(declare(BLOCK, data={}), declare(DEPLOYMENT, tags=[])))
    mine = bench.access().store
    await mine.load()
    with pytest.raises(UsageError) as error:
        await forget(mine, Key.of("block", "process", "bse"))
    assert "block/process/base" in error.value.hint
    assert (await forget(mine, BLOCK)).key == BLOCK
    assert set(await bench.entries()) == {DEPLOYMENT}
    assert bench.server.named(str(BLOCK)) is not None


def test_record_names_are_allowed_ones_and_differ():
    names = {record_name(name) for name in ("a.b", "a-b", "A-b", "a" * 200, "ünï")}
    assert len(names) == 5
    assert all(json.dumps(n).strip('"').replace("-", "a").isalnum() and len(n) < 60 for n in names)
