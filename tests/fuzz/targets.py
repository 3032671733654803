"""What strangers can send us, each as a function of bytes that states what must hold.

A target fails by any exception that is not one of those the code promises, or by an assertion.
"""

import contextlib
import hashlib
import hmac
import json
import urllib.parse

from reconciler.blocks.sense import patch_fault
from reconciler.errors import InvalidManifests, ReconcilerError
from reconciler.infrastructure.base import NotLaunchable
from reconciler.infrastructure.base.patches import patched
from reconciler.kinds import KINDS
from reconciler.manifests import marks
from reconciler.manifests.load import LoadOptions, load
from reconciler.manifests.secrets.age import AgeSecrets
from reconciler.model.values import Secret
from reconciler.source.git.address import parse, scrub
from reconciler.source.git.blame import _lines as blamed
from reconciler.source.git.mirror import check_ref
from reconciler.web.pushes import is_genuine, push_of, same_place
from tests.fakes.source import snapshot_of

LIMITS = marks.Limits(size=20_000, depth=30, weight=5_000, documents=50)
_FORGES = ("github", "gitlab", "gitea", "bitbucket")
_EVENTS = {
    "x-github-event": "push",
    "x-gitlab-event": "Push Hook",
    "x-gitea-event": "push",
    "x-event-key": "repo:push",
}
_IDENTITY = Secret("AGE-SECRET-KEY-1" + "Q" * 58)


def yaml(data: bytes) -> None:
    """Reading never raises, stays inside the limits, and gives the same twice."""
    content = marks.read(data, LIMITS)
    assert content.weight <= LIMITS.weight + 1
    again = marks.read(data, LIMITS)
    assert repr(again) == repr(content)
    json.dumps([one.value for one in content.documents], allow_nan=False)


def manifest(data: bytes) -> None:
    """A file is valid, or every problem has a place in it."""
    _load({"one.yaml": data})


def project(data: bytes) -> None:
    """The same for a `prefect.yaml`."""
    _load({"prefect.yaml": data})


def policy(data: bytes) -> None:
    """The same for `reconciler.yaml`."""
    _load({"reconciler.yaml": data, "one.yaml": b"kind: Variable\nname: a\nvalue: ${{ vars.b }}\n"})


def _load(files: dict[str, bytes]) -> None:
    snapshot = snapshot_of({"reconciler.yaml": b"name: fuzz\n", **files})
    try:
        desired = load(snapshot, LoadOptions(offline=True, limits=LIMITS), KINDS)
    except InvalidManifests as error:
        _check(error, {*files, "reconciler.yaml"})
        return
    for declaration in desired.declarations.values():
        assert declaration.place.file in files
        assert str(declaration.key)


def _check(error: InvalidManifests, files: set[str]) -> None:
    assert error.problems
    for problem in error.problems:
        assert problem.place.file in files
        assert problem.place.line >= 0
        assert str(problem)


def patch(data: bytes) -> None:
    """A JSON patch works or is refused by name, and leaves the document alone."""
    with contextlib.suppress(ValueError, RecursionError):
        operations = json.loads(data)
        if not isinstance(operations, list):
            operations = [operations]
        for operation in operations:
            fault = patch_fault(operation)
            assert fault is None or isinstance(fault, str)
        document = {"a": {"b": [1, 2, {"c": "canary"}]}, "d": None}
        with contextlib.suppress(NotLaunchable):
            patched("job_patches", operations, document)
        assert document == {"a": {"b": [1, 2, {"c": "canary"}]}, "d": None}


def webhook(data: bytes) -> None:
    """A webhook tells of a push, of something else, or is refused; none is genuine by chance."""
    forge = _FORGES[data[0] % len(_FORGES)] if data else _FORGES[0]
    body = data[1:]
    headers = {**_EVENTS, "x-hub-signature-256": body[:80].decode("latin-1")}
    assert not is_genuine(forge, headers, body, "a secret that nobody can guess")
    signature = hmac.new(b"s", body, hashlib.sha256).hexdigest()
    signed = {
        "x-hub-signature-256": f"sha256={signature}",
        "x-gitea-signature": signature,
        "x-hub-signature": f"sha256={signature}",
        "x-gitlab-token": "s",
    }
    assert is_genuine(forge, signed, body, "s")
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return
    if isinstance(payload, dict):
        with contextlib.suppress(ValueError):
            push = push_of(forge, headers, payload)
            if push is not None:
                push.concerns("main")
                push.is_of(frozenset({"example.org/a/b"}))


def address(data: bytes) -> None:
    """An address is understood or refused, and its password is never shown."""
    text = data.decode(errors="replace")
    with contextlib.suppress(ReconcilerError):
        found = parse(text)
        assert not found.url.startswith("-")
        assert scrub(found.shown) == found.shown
        if found.login is not None and "://" in text:
            password = urllib.parse.urlsplit(text).password or ""
            netloc = urllib.parse.urlsplit(found.shown).netloc
            assert not password or f":{password}@" not in netloc
    with contextlib.suppress(ValueError):
        same_place(text)


def ref(data: bytes) -> None:
    """What is taken as a ref is no option, no pattern and no refspec."""
    text = data.decode(errors="replace")
    try:
        check_ref(text)
    except ReconcilerError:
        return
    assert not text.startswith(("-", "+"))
    assert not set(text) & set(" ~^:?*[\\\n\0")
    assert ".." not in text


def secret_file(data: bytes) -> None:
    """An encrypted file that is none of ours is refused in words."""
    for head in (b"", b"age-encryption.org/v1\n"):
        with contextlib.suppress(LookupError):
            AgeSecrets("secrets.age", head + data, _IDENTITY).find("name")


def blame(data: bytes) -> None:
    """What git prints is read, whatever names and messages hold."""
    head = b"0123456789012345678901234567890123456789 1 1 1\n"
    for number, written in blamed(head + data):
        assert number >= 0
        assert str(written)


TARGETS = {
    one.__name__: one
    for one in (
        yaml,
        manifest,
        project,
        policy,
        patch,
        webhook,
        address,
        ref,
        secret_file,
        blame,
    )
}
