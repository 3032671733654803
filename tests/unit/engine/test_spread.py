"""Few entries are in one block document; when they grow they are spread, and nothing gets lost."""

from collections import Counter
from datetime import UTC, datetime

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.engine.inventory import InventoryStore
from reconciler.errors import Overloaded
from reconciler.model.inventory import FEW, SHARDS, Entry, shard_of
from reconciler.model.keys import Key
from reconciler.model.snapshot import Origin
from tests.fakes.prefect_memory import MemoryApi, MemoryPrefect, kill_at
from tests.unit.engine.test_crash import killed

pytestmark = pytest.mark.anyio

HERE = Origin(("root",), "")
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
MANY = FEW + 20


def key(number):
    return Key.of("block", "process", f"b{number}")


def entries(*numbers, commit="abc"):
    return [Entry(key(n), f"id-{n}", FIRST, commit, "a.yaml") for n in numbers]


def documents(server):
    """The numbers of the entries, by shard."""
    return {
        record["data"]["shard"]: {
            int(name.rpartition("b")[2]) for name in record["data"].get("entries", {})
        }
        for record in server.records("reconciler-inventory")
    }


async def loaded(server, fault=None):
    store = InventoryStore(MemoryApi(server, fault), "prod")
    await store.load(HERE)
    return store


async def filled(*numbers):
    server = MemoryPrefect()
    await (await loaded(server)).save(put=entries(*numbers))
    server.log.clear()
    return server


def writes(server):
    return [request for request in server.log if not request.reading]


def at_home(server):
    """Each entry is in one document, where it belongs."""
    return all(
        shard == shard_of(key(number), SHARDS)
        for shard, numbers in documents(server).items()
        for number in numbers
    )


async def test_few_entries_take_one_write():
    server = await filled(*range(FEW))
    assert documents(server) == {0: {*range(FEW)}}
    await (await loaded(server)).save(put=entries(1, 2, 3), drop=[key(4), key(5)])
    assert len(writes(server)) == 1


async def test_many_are_spread_from_the_start():
    server = await filled(*range(MANY))
    assert len(documents(server)) == SHARDS
    assert at_home(server)
    await (await loaded(server)).save(put=entries(1))
    assert len(writes(server)) == 1


async def test_a_growing_inventory_is_spread_once_and_stays_so():
    server = await filled(*range(FEW))
    store = await loaded(server)
    await store.save(put=entries(*range(FEW, MANY)), drop=[key(0)])
    assert at_home(server)
    assert set(store.entries) == {key(n) for n in range(1, MANY)}
    server.log.clear()
    await store.save(drop=[key(n) for n in range(3, MANY)])
    assert at_home(server)
    await (await loaded(server)).save(put=entries(1, commit="new"))
    assert at_home(server)
    found = (await loaded(server)).entries
    assert {k: e.commit for k, e in found.items()} == {key(1): "new", key(2): "abc"}


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_killed_while_it_is_spread_every_entry_is_still_there_and_the_next_write_goes_on(
    moment,
):
    deaths = 0
    for number in range(1, 60):
        server = await filled(*range(FEW))
        store = await loaded(server, kill_at(number + 1, moment))  # the first request loads
        new = entries(*range(FEW - 1, MANY), commit="new")
        if not await killed(store.save(put=new, drop=[key(0)])):
            break
        deaths += 1
        again = await loaded(server)
        assert set(again.entries) >= {key(n) for n in range(1, FEW)}
        assert set(again.entries) <= {key(n) for n in range(MANY)}
        await again.save(put=new, drop=[key(0)])
        assert at_home(server)
        found = (await loaded(server)).entries
        assert {k.name for k, e in found.items() if e.commit == "new"} == {e.key.name for e in new}
        assert set(found) == {key(n) for n in range(1, MANY)}
    assert deaths == SHARDS + 1


async def test_what_could_not_be_spread_is_spread_by_the_next_write():
    server = await filled(*range(FEW))
    store = await loaded(server, lambda r: "503" if r.number == 9 else None)
    with pytest.raises(Overloaded):
        await store.save(put=entries(*range(FEW, MANY)))
    await store.save(put=entries(*range(FEW, MANY)))
    assert at_home(server)
    assert set((await loaded(server)).entries) == {key(n) for n in range(MANY)}


async def test_what_is_newer_counts_while_an_entry_is_in_two_documents():
    server = await filled(*range(FEW))
    store = await loaded(server, kill_at(SHARDS + 2))  # the cut of the first document
    changed = next(n for n in range(FEW) if shard_of(key(n)) != 0)
    new = entries(changed, *range(FEW, MANY), commit="new")
    assert await killed(store.save(put=new))
    assert not at_home(server)
    assert (await loaded(server)).entries[key(changed)].commit == "new"


async def test_a_take_over_finishes_what_was_begun():
    server = await filled(*range(FEW))
    store = await loaded(server, kill_at(6))
    assert await killed(store.save(put=entries(*range(FEW, MANY))))
    there = Origin(("elsewhere",), "")
    store = InventoryStore(MemoryApi(server), "prod")
    await store.load(there, take_over=True)
    await store.claim()
    assert at_home(server)
    assert {tuple(r["data"]["roots"]) for r in server.records("reconciler-inventory")} == {
        ("elsewhere",)
    }


@pytest.mark.parametrize(("count", "shards"), [(FEW, 1), (MANY, SHARDS)])
async def test_a_few_entries_are_read_from_where_they_are(count, shards):
    server = await filled(*range(count))
    store = InventoryStore(MemoryApi(server), "prod")
    found = await store.load_some([key(1), key(count)], HERE, shards)
    assert list(found.entries) == [key(1)]
    await store.save(put=entries(1, commit="new"))
    again = (await loaded(server)).entries
    assert again == {**{e.key: e for e in entries(*range(count))}, key(1): store.entries[key(1)]}


@pytest.mark.parametrize(("count", "shards"), [(FEW, SHARDS), (MANY, 1)])
async def test_a_few_entries_take_a_whole_look_where_they_have_been_spread_since(count, shards):
    server = await filled(*range(count))
    store = InventoryStore(MemoryApi(server), "prod")
    assert await store.load_some([key(n) for n in range(40)], HERE, shards) is None


async def test_the_first_document_takes_a_whole_look_while_entries_are_spread():
    server = await filled(*range(FEW))
    store = await loaded(server, kill_at(3))
    assert await killed(store.save(put=entries(*range(FEW, MANY))))
    store = InventoryStore(MemoryApi(server), "prod")
    first = next(n for n in range(FEW) if shard_of(key(n)) == 0)
    assert await store.load_some([key(first)], HERE, SHARDS) is None


async def test_an_inventory_of_the_first_format_stays_spread():
    server = await filled(*range(MANY))
    for document in server.documents.values():
        document["data"]["format"] = 1
        del document["data"]["shards"]
    store = await loaded(server)
    await store.save(drop=[key(n) for n in range(3, MANY)])
    await store.save(put=entries(2, commit="new"))
    assert at_home(server)
    assert Counter(e.commit for e in (await loaded(server)).entries.values()) == {
        "abc": 2,
        "new": 1,
    }


steps = st.lists(
    st.tuples(
        st.sets(st.integers(0, 2 * FEW), min_size=1, max_size=FEW),
        st.sets(st.integers(0, 2 * FEW), max_size=FEW),
        st.integers(1, 40),
        st.sampled_from(["before", "after"]),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_whatever_is_saved_and_whenever_it_is_killed_each_entry_is_what_it_was_or_became(steps):
    async def story():
        server, wanted = MemoryPrefect(), {}
        for turn, (put, drop, death, moment) in enumerate(steps):
            before = dict(wanted)
            new = {e.key: e for e in entries(*put, commit=str(turn))}
            gone = {key(n) for n in drop - put}
            wanted = {k: e for k, e in {**wanted, **new}.items() if k not in gone}
            store = await loaded(server, kill_at(death, moment) if death > 1 else None)
            if await killed(store.save(new.values(), gone)):
                found = (await loaded(server)).entries
                for one in found.keys() | before.keys() | wanted.keys():
                    assert found.get(one) in (before.get(one), wanted.get(one))
                await (await loaded(server)).save(new.values(), gone)
            assert (await loaded(server)).entries == wanted

    anyio.run(story)
