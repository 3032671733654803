"""Logs of commands: set up with the first thing that is logged, whoever logs it."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging, sys
from reconciler.runtime.log import Log
from reconciler.telemetry import late

def set_up():
    from reconciler.telemetry import logs
    print("set up", flush=True)
    return logs.handler("warning", "json")

late.configure("warning", set_up)
late.configure("warning", set_up)
logging.getLogger("library").info("not shown")
logging.getLogger("httpx").info("not shown")
print("structlog" in sys.modules, flush=True)
{words}
"""


def said(words):
    """Run words in a process of its own; return its lines, and what it logged."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(words=words)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines(), [json.loads(line) for line in done.stderr.splitlines()]


def test_what_logs_nothing_imports_nothing():
    assert said("") == (["False"], [])


@pytest.mark.parametrize(
    "words",
    [
        "Log('one').warning('first', token='hush'); logging.getLogger('two').error('second')",
        "logging.getLogger('one').warning('first'); Log('two').error('second')",
    ],
)
def test_the_first_word_is_not_lost_and_none_is_said_twice(words):
    lines, logged = said(words)
    assert lines == ["False", "set up"]
    assert [(one["logger"], one["event"], one["level"]) for one in logged] == [
        ("one", "first", "warning"),
        ("two", "second", "error"),
    ]
    assert "hush" not in json.dumps(logged)


def test_what_is_less_important_than_asked_for_is_not_said():
    assert said("Log('one').info('no'); Log('one').debug('no')") == (["False", "set up"], [])


def test_other_handlers_are_left_alone():
    words = (
        "seen = []\n"
        "class Other(logging.Handler):\n"
        "    def emit(self, record): seen.append(record.getMessage())\n"
        "logging.getLogger().addHandler(Other())\n"
        "logging.getLogger('one').warning('first'); Log('two').error('second')\n"
        "print(len(seen))"
    )
    lines, logged = said(words)
    assert lines == ["False", "set up", "2"]
    assert len(logged) == 2


THREADS = """
import threading
def library():
    barrier.wait()
    logging.getLogger("git").warning("url https://u:hunter2@h/")
def ours():
    barrier.wait()
    Log("b").warning("second", token="hunter2")
barrier = threading.Barrier(8)
both = [threading.Thread(target=target) for target in (library, ours) for _ in range(4)]
for one in both: one.start()
for one in both: one.join()
"""


def test_what_another_thread_says_meanwhile_goes_the_same_way():
    lines, logged = said(THREADS)
    assert lines == ["False", "set up"]
    assert len(logged) == 8
    assert "hunter2" not in json.dumps(logged)


def test_what_setting_up_itself_logs_is_dropped():
    program = PROGRAM.replace('print("set up", flush=True)', 'logging.getLogger("x").error("loop")')
    done = subprocess.run(
        [sys.executable, "-c", program.format(words="logging.getLogger('one').error('first')")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["first"]
