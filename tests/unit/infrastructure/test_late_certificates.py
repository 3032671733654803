"""Prefect's client in a fork reads certificates late, and is otherwise as it would be."""

import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.infrastructure.process import helper
from tests.testbed.tls import certificate

PROGRAM = """
import ssl, sys, types
{before}
sys.path.insert(0, {folder!r})
import helper
client = types.ModuleType("prefect.client.orchestration")
client.ssl = ssl
sys.modules[client.__name__] = client
helper.defer_certificates()
def late(context): return type(context) is helper.LateContext and context._late is not None
{after}
"""


def said(after, before=""):
    program = PROGRAM.format(before=before, after=after, folder=str(Path(helper.__file__).parent))
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def authority(tmp_path):
    return str(certificate(tmp_path)[0])


def test_only_the_clients_contexts_are_late(authority):
    create = f"create_default_context(cafile={authority!r})"
    assert said(f"print(late(client.ssl.{create}), late(ssl.{create}))") == ["True", "False"]


def test_a_late_context_is_set_up_as_any_other(authority):
    words = (
        f"made = client.ssl.create_default_context(cafile={authority!r})\n"
        f"plain = ssl.create_default_context(cafile={authority!r})\n"
        "names = ('verify_mode', 'check_hostname', 'verify_flags', 'options', 'protocol')\n"
        "print(all(getattr(made, n) == getattr(plain, n) for n in names))\n"
        "print(isinstance(made, client.ssl.SSLContext), client.ssl.CERT_NONE is ssl.CERT_NONE)\n"
        "print(made.cert_store_stats() == plain.cert_store_stats(), late(made))\n"
        "print(made.get_ca_certs() == plain.get_ca_certs())\n"
    )
    assert said(words) == ["True", "True", "True", "True", "False", "True"]


def test_a_file_that_can_be_read_no_more_fails_each_connection(tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing\n")
    words = (
        f"made = client.ssl.create_default_context(cafile={str(bad)!r})\n"
        "for _ in range(2):\n"
        "    try: made.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname='x')\n"
        "    except ssl.SSLError as error: print('refused')\n"
    )
    assert said(words) == ["refused", "refused"]


def test_a_file_that_is_missing_is_told_at_once(tmp_path):
    words = (
        f"try: client.ssl.create_default_context(cafile={str(tmp_path / 'none')!r})\n"
        "except FileNotFoundError: print('missing')\n"
    )
    assert said(words) == ["missing"]


@pytest.mark.parametrize(
    "theirs",
    [
        "def ours(*a, _was=ssl.create_default_context, **k): return _was(*a, **k)",
        "import functools; ours = functools.partial(ssl.create_default_context)",
    ],
)
def test_where_somebody_has_another_function_it_stays(authority, theirs):
    before = f"{theirs}\nssl.create_default_context = ours"
    words = (
        f"print(client.ssl is ssl, late(client.ssl.create_default_context(cafile={authority!r})))"
    )
    assert said(words, before) == ["True", "False"]


@pytest.mark.parametrize(
    "theirs",
    ["ssl.create_default_context = lambda *a, **k: 'theirs'", "ssl.SSLContext = type('T', (), {})"],
)
def test_what_a_flow_puts_into_ssl_reaches_the_client(authority, theirs):
    words = (
        f"{theirs}\n"
        "print(client.ssl.SSLContext is ssl.SSLContext)\n"
        f"try: print(late(client.ssl.create_default_context(cafile={authority!r})))\n"
        "except Exception: print('False')\n"
    )
    assert said(words) == ["True", "False"]
