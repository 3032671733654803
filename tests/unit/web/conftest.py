"""A service without loops behind the real application, and clients of it."""

from contextlib import asynccontextmanager

import httpx
import pytest

from reconciler.settings import WebSettings
from reconciler.web.app import make_app
from tests.fakes.backend import FakeBackend

TOKEN = "a-long-enough-token"


@pytest.fixture
async def backend(tmp_path):
    made = FakeBackend(tmp_path)
    await made.turn()
    yield made
    made.close()


@asynccontextmanager
async def client_of(backend, *, peer="127.0.0.1", host="127.0.0.1:8383", **settings):
    chosen = WebSettings.model_validate({"token": TOKEN, "webhook_secret": "hush", **settings})
    app = make_app(backend, chosen, backend.clock)
    transport = httpx.ASGITransport(app=app, client=(peer, 1234), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
        client.access = app.state.access
        yield client


@pytest.fixture
async def client(backend):
    async with client_of(backend) as made:
        yield made
