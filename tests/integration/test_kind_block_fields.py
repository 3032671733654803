"""Every field of every shipped type, one at a time, against real servers: nothing drifts."""

import pytest

from reconciler.api.blocks import update_document
from tests.fakes.block_fields import FIELDS, REQUIRED, data_with
from tests.integration.blocks import (
    KIND,
    create,
    create_targets,
    declare,
    listed,
    paths,
    same,
    session_with,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("slug", FIELDS)
async def test_each_field_reads_back_as_it_was_declared(server, slug):
    async with session_with(server) as session:
        await create_targets(session, slug)
        for number, field in enumerate(FIELDS[slug]):
            data = data_with(slug, field)
            declared, live = await create(session, slug, f"f{number}", data)
            assert same(declared.fields, live.fields), field
            assert paths(declared.fields) == paths(live.fields), field
            again = await declare(session, slug, f"f{number}", data)
            assert same(again.fields, live.fields), f"{field}, declared again"


def _writes(session):
    """Count writes; one that a busy SQLite server (503) was sent again is one."""
    return session.api.counts.writes - session.api.counts.repeated_writes


@pytest.mark.parametrize("slug", FIELDS)
async def test_each_changed_field_is_one_write_and_reads_back(server, slug):
    async with session_with(server) as session:
        await create_targets(session, slug)
        base, live = await create(session, slug, "base", REQUIRED.get(slug, {}))
        for field in FIELDS[slug]:
            wanted = await declare(session, slug, "base", data_with(slug, field))
            before = _writes(session)
            await KIND.update(session, live, wanted.fields)
            assert _writes(session) == before + 1
            changed = await KIND.read(session, live.key, live.id)
            assert same(wanted.fields, changed.fields), field
            await KIND.update(session, changed, base.fields)
            back = await KIND.read(session, live.key, live.id)
            assert same(base.fields, back.fields), f"{field}, taken back"


async def test_what_prefects_own_classes_write_out_in_full_equals_the_short_form(server):
    """Prefect's client saves every field of a block, defaults too."""
    async with session_with(server) as session:
        _, live = await create(session, "process", "full", {})
        everything = {
            "type": "process",
            "env": {},
            "labels": {},
            "name": None,
            "command": None,
            "stream_output": True,
            "working_dir": None,
        }
        await update_document(session.api, live.id, everything)
        assert same((await listed(session))[live.key].fields, {"data": {}})
