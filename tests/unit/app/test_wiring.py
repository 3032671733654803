"""The app hands out the connection that is on its way, once."""

from dataclasses import replace

import pytest

from reconciler.api.connect import connect
from reconciler.api.opening import Opening
from reconciler.app import App
from reconciler.errors import UsageError
from reconciler.runtime.ahead import owned
from reconciler.settings import ConnectionSettings, load
from tests.fakes.clock import VirtualClock
from tests.fakes.http import ScriptedServer, answer

pytestmark = pytest.mark.anyio

URL = "http://prefect.test/api"


async def test_a_connection_on_its_way_is_for_the_first_desk():
    clock, server = VirtualClock(), ScriptedServer(answer(200, "3.8.8"))
    connection = connect(ConnectionSettings.to(URL), clock, transport=server)
    app = App(load({"HOME": "/nowhere"}), {}, clock)
    async with owned() as group:
        opened = replace(app, opening=Opening(group, connection, lambda _: None))
        async with opened.desk() as desk:
            assert str(desk.api.facts) == "Prefect 3.8.8"
        with pytest.raises(UsageError, match="no Prefect API is configured"):
            async with opened.desk():
                pass
