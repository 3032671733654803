from datetime import UTC, datetime

import httpx
import pytest

from reconciler.api.retry import Fate, fate_of_error, fate_of_status, retry_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 204, 307, 400, 401, 403, 404, 409, 422])
def test_an_answer_is_an_answer(status):
    assert fate_of_status(status) is Fate.ANSWERED


@pytest.mark.parametrize("status", [408, 429])
def test_these_were_not_taken_up(status):
    assert fate_of_status(status) is Fate.NOT_TAKEN


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504])
def test_a_server_error_may_come_after_the_effect(status):
    assert fate_of_status(status) is Fate.UNKNOWN


@pytest.mark.parametrize(
    "error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout], ids=lambda e: e.__name__
)
def test_without_a_connection_nothing_was_sent(error):
    assert fate_of_error(error("x")) is Fate.NOT_TAKEN


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout,
        httpx.WriteTimeout,
        httpx.ReadError,
        httpx.RemoteProtocolError,
        TimeoutError,
    ],
    ids=lambda e: e.__name__,
)
def test_with_a_connection_anything_may_have_happened(error):
    assert fate_of_error(error("x")) is Fate.UNKNOWN


@pytest.mark.parametrize("value", [None, "", "soon", "nan", "inf", "Mon, 99 Foo 2026 00:00:00 GMT"])
def test_an_unreadable_header_says_nothing(value):
    assert retry_after(value, NOW) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("-4", 0),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30),
        ("Thu, 01 Jan 2026 00:00:30 -0000", 30),
        ("Wed, 31 Dec 2025 23:59:00 GMT", 0),
    ],
)
def test_seconds_and_dates_are_read(value, seconds):
    assert retry_after(value, NOW) == seconds
