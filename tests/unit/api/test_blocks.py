"""Registering block types while the server answers badly."""

import httpx
import pytest

from reconciler.api.blocks import NewBlockType, register_type
from tests.fakes.http import ScriptedServer, answer, scripted_api

pytestmark = pytest.mark.anyio

NEW = NewBlockType("process", "Process", "", (), "1", {})
TYPE = {"id": "t", "slug": "process", "name": "Process"}


async def test_a_type_that_did_not_arrive_is_sent_again():
    server = ScriptedServer(answer(503), answer(201, TYPE))
    assert (await register_type(scripted_api(server), NEW)).id == "t"


async def test_a_type_that_was_made_unheard_is_found():
    server = ScriptedServer(httpx.ReadError("reset"), answer(409, {}), answer(200, TYPE))
    assert (await register_type(scripted_api(server), NEW)).id == "t"
    assert server.asked[-1] == "GET /api/block_types/slug/process"
