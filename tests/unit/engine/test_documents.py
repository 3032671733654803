"""Our own records: what becomes of their block type when the server answers badly."""

import httpx
import pytest

from reconciler.engine.documents import Form, Records
from tests.fakes.http import ScriptedServer, answer, scripted_api

pytestmark = pytest.mark.anyio

FORM = Form("notes", "Notes", "")
TYPE = {"id": "t", "slug": "notes"}
LOST = httpx.ReadError("reset")


@pytest.mark.parametrize(
    "trouble",
    [
        (answer(503), answer(201, TYPE)),  # it was not taken
        (LOST, answer(409, {"detail": "exists"}), answer(200, TYPE)),  # it was, unheard
    ],
    ids=["not taken", "taken"],
)
async def test_a_type_whose_registration_got_no_answer_is_registered_again(trouble):
    record = {"id": "d", "name": "a", "updated": "2026-01-01T00:00:00Z"}
    made = {**record, "block_type_id": "t", "block_schema_id": "s"}
    server = ScriptedServer(answer(404, {}), *trouble, answer(201, {"id": "s"}), answer(201, made))
    assert (await Records(scripted_api(server), FORM).create("a", {})).id == "d"
    assert server.asked[:3] == [
        "GET /api/block_types/slug/notes",
        "POST /api/block_types/",
        "POST /api/block_types/",
    ]
