import io
import json
import logging

import pytest
import structlog
from pydantic import SecretStr

from reconciler.model.values import MASKED, Secret
from reconciler.telemetry.logs import configure
from reconciler.telemetry.redaction import redact, redact_text


@pytest.fixture(autouse=True)
def _restored():
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_off_a_terminal_each_event_is_a_json_line():
    stream = io.StringIO()
    configure(stream=stream)
    structlog.get_logger("part").info("applied", key="block/x/y", count=3)
    (event,) = lines(stream)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "applied",
        "key": "block/x/y",
        "count": 3,
        "level": "info",
        "logger": "part",
    }


def test_on_a_terminal_it_is_for_people():
    stream = Terminal()
    configure(stream=stream)
    structlog.get_logger("part").info("applied", count=3)
    assert "applied" in stream.getvalue()
    assert "\x1b[" in stream.getvalue()


def test_no_colours_where_none_are_wanted_or_piped():
    for stream, colours in ((Terminal(), False), (io.StringIO(), True)):
        configure(form="console", stream=stream, colours=colours)
        structlog.get_logger().warning("applied")
        assert "applied" in stream.getvalue()
        assert "\x1b[" not in stream.getvalue()


def test_less_than_the_level_is_not_shown():
    stream = io.StringIO()
    configure("warning", stream=stream)
    structlog.get_logger().info("a")
    logging.getLogger("x").info("b")
    logging.getLogger("x").warning("c")
    assert [event["event"] for event in lines(stream)] == ["c"]


def test_libraries_are_routed_here_and_the_talkative_ones_quietened():
    stream = io.StringIO()
    configure("debug", stream=stream)
    logging.getLogger("httpx").info("GET everything")
    logging.getLogger("httpx").warning("trouble with %s", "https://me:hush@host")
    (event,) = lines(stream)
    assert event["event"] == "trouble with https://***@host"


def test_configuring_again_replaces_and_keeps_what_others_added():
    foreign = logging.NullHandler()
    logging.getLogger().addHandler(foreign)
    first, second = io.StringIO(), io.StringIO()
    configure(stream=first)
    configure(stream=second)
    structlog.get_logger().info("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1
    assert foreign in logging.getLogger().handlers


def test_context_is_added_to_each_event():
    stream = io.StringIO()
    configure(stream=stream)
    with structlog.contextvars.bound_contextvars(run="r1", password="hush"):
        structlog.get_logger().info("x")
    (event,) = lines(stream)
    assert (event["run"], event["password"]) == ("r1", "***")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_values(form):
    stream = Terminal()
    configure(form=form, stream=stream)

    def fail():
        local = "hush-in-a-local"
        raise RuntimeError("Authorization: Bearer hush1234" + local[:0])

    try:
        fail()
    except RuntimeError:
        structlog.get_logger().exception("failed")
    text = stream.getvalue()
    assert "RuntimeError" in text
    assert "hush1234" not in text
    assert "hush-in-a-local" not in text


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_canary_is_found_in_no_log_line(form):
    stream = Terminal()
    configure("debug", form, stream=stream)
    canary = "canary-4711"
    log = structlog.get_logger()
    log.info(
        "x",
        plain=Secret(canary),
        nested={"data": [Secret({"a": canary})], "b": (SecretStr(canary), MASKED)},
        api_key=canary,
        headers={"Authorization": canary, "X-Auth": canary, "Cookie": canary},
        env={"AWS_SECRET_ACCESS_KEY": canary, "DB_PASSWORD": canary},
        raw=canary.encode(),
    )
    logging.getLogger("lib").error("said %s", Secret(canary))
    assert canary not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "https://user:hush@host/path",
        "https://user:h@hush@host/path",
        "Authorization: Basic aHVzaDpodXNo",
        "authorization=hush",
        "'Authorization': 'Bearer hush1234'",
        "GET /x?token=hush&y=1",
        "https://s3/x?X-Amz-Signature=hush",
        "key pnu_hushhushhush",
        "key ghp_hushhushhush",
        "-----BEGIN RSA PRIVATE KEY-----\nhush\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhush",
    ],
)
def test_credentials_in_a_text_are_taken_out(text):
    assert "hush" not in redact_text(text)
    assert "aHVzaDpodXNo" not in redact_text(text)


@pytest.mark.parametrize(
    "text",
    ["Basic authentication failed", "Bearer token missing", "block/secret/prod applied", "a@b.c"],
)
def test_words_are_left_alone(text):
    assert redact_text(text) == text


@pytest.mark.parametrize("key", ["key", "keys", "author", "path", "event", "passed", "queue"])
def test_names_that_are_no_secret_are_left_alone(key):
    assert redact("value", key) == "value"


def test_values_become_json():
    assert redact({"a": {1: None, "b": [True, 1.5, b"abc"]}, "c": ValueError("x")}) == {
        "a": {"1": None, "b": [True, 1.5, "<3 bytes>"]},
        "c": "x",
    }


def test_depth_has_an_end():
    deep: list = []
    deep.append(deep)
    assert "<list>" in str(redact(deep))
