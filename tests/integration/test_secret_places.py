"""Places of secrets with the real things: files made by Debian's age, a KV server, programs."""

import re
import subprocess
import sys

import pytest

from reconciler.errors import InvalidManifests
from reconciler.kinds import KINDS
from reconciler.manifests.load import LoadOptions, load
from reconciler.manifests.secrets import SecretAccess, VaultAccess
from reconciler.model.keys import Key
from reconciler.model.values import Secret
from tests.fakes.trees import tree
from tests.testbed.http_api import HttpApi, Reply
from tests.testbed.packages import install, program

KEY = Key.of("variable", "a")
MANIFEST = "kind: Variable\nname: a\nvalue: ${{ secrets.TOKEN }}\n"
CANARY = "canary-of-a-secret-place"


def read(policy, access, files=(), **options):
    """Load a tree whose one variable is the secret TOKEN; return it."""
    content = {"reconciler.yaml": f"name: x\nsecrets: [{policy}]\n", "a.yaml": MANIFEST}
    made = LoadOptions(secret_access=access, **options)
    found = load(tree({**content, **dict(files)}), made, KINDS).declarations[KEY]
    return found.fields["value"]


def refused(policy, access, files=()):
    with pytest.raises(InvalidManifests) as caught:
        read(policy, access, files)
    [problem] = caught.value.problems
    assert CANARY not in repr(caught.value) + str(problem)
    assert str(problem).startswith("a.yaml:3:8: ")
    return f"{problem.message} ({problem.hint})"


# -- age -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def age():
    install("age", "age")

    def run(*arguments, stdin=b"", name="age"):
        done = subprocess.run(
            [program(name), *arguments], input=stdin, capture_output=True, check=True
        )
        return done.stdout

    return run


@pytest.fixture(scope="module")
def identities(age):
    made = [age(name="age-keygen").decode() for _ in range(3)]
    return [(text, re.search(r"public key: (age1\w+)", text)[1]) for text in made]


@pytest.mark.parametrize("armor", [True, False])
def test_a_file_that_age_made_for_several_opens_for_each_of_them(age, identities, armor):
    recipients = [word for _, public in identities[:2] for word in ("-r", public)]
    options = ["--armor"] if armor else []
    content = age(*options, *recipients, stdin=f"TOKEN: {CANARY}\nOTHER: x\n".encode())
    for identity, _ in identities[:2]:
        access = SecretAccess(Secret(identity))
        value = read("{age: secrets.age}", access, {"secrets.age": content}.items())
        assert value.reveal() == CANARY
        assert CANARY not in repr(value)
    wrong = SecretAccess(Secret(identities[2][0]))
    said = refused("{age: secrets.age}", wrong, {"secrets.age": content}.items())
    assert "other recipients, or changed" in said


def test_a_flipped_byte_is_refused(age, identities):
    identity, public = identities[0]
    content = bytearray(age("-r", public, stdin=f"TOKEN: {CANARY}\n".encode()))
    for place in (40, len(content) // 2, len(content) - 3):
        changed = bytearray(content)
        changed[place] ^= 1
        files = {"secrets.age": bytes(changed)}.items()
        assert "does not open" in refused(
            "{age: secrets.age}", SecretAccess(Secret(identity)), files
        )


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        (None, "without an identity"),
        (Secret("nonsense"), "the age identity is none"),
        (Secret("AGE-SECRET-KEY-1NONSENSE"), "the age identity is none"),
    ],
)
def test_without_a_good_identity_it_is_said_what_to_set(age, identities, identity, said):
    content = age("-r", identities[0][1], stdin=b"TOKEN: x\n")
    files = {"secrets.age": content}.items()
    assert said in refused("{age: secrets.age}", SecretAccess(identity), files)


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        (b"- a\n", "is no mapping"),
        (b"TOKEN: [a]\n", "is no text"),
        (b"TOKEN: 5\n", "put it in quotes"),
        (b"OTHER: x\n", "there is no secret TOKEN (looked for it in the encrypted file"),
        (b"a: &a [*a]\n", "is no mapping"),
    ],
)
def test_what_such_a_file_must_hold(age, identities, plain, said):
    identity, public = identities[0]
    files = {"secrets.age": age("-r", public, stdin=plain)}.items()
    assert said in refused("{age: secrets.age}", SecretAccess(Secret(identity)), files)


def test_a_file_that_is_not_there_is_a_problem_of_the_policy():
    with pytest.raises(InvalidManifests, match="problem") as caught:
        read("{age: secrets.age}", SecretAccess())
    assert any("there is no file 'secrets.age'" in str(one) for one in caught.value.problems)


def test_without_secrets_no_place_is_opened():
    """A pull request's plan has neither the identity nor Vault."""
    value = read(
        "{age: secrets.age}, {vault: {path: etl}}",
        SecretAccess(command=("/nonexistent",)),
        {"secrets.age": b"nonsense"}.items(),
        no_secrets=True,
    )
    assert repr(value) == "<masked>"


# -- Vault -----------------------------------------------------------------------------------------


class Vault(HttpApi):
    """What Vault's KV v2 answers."""

    def __init__(self):
        self.versions = [{"TOKEN": "old"}, {"TOKEN": CANARY}]
        self.token, self.sealed, self.asked = "good-token", False, 0
        super().__init__([("GET", "/v1/kv/data/apps/etl", self._read)])
        self.before = self._check

    def _check(self, request):
        if self.sealed:
            return Reply(503, {"errors": ["Vault is sealed"]})
        if request.headers.get("x-vault-token") != self.token:
            return Reply(403, {"errors": ["permission denied"]})
        if request.path != "/v1/kv/data/apps/etl":
            return Reply(404, {"errors": []})
        return None

    def _read(self, request):
        self.asked += 1
        number = int(request.query.get("version") or 0) or len(self.versions)
        data = self.versions[number - 1]
        metadata = {"version": number, "destroyed": False, "deletion_time": ""}
        if data is None:
            metadata["deletion_time"] = "2026-01-01T00:00:00Z"
            return Reply(404, {"data": {"data": None, "metadata": metadata}})
        return Reply(200, {"data": {"data": data, "metadata": metadata}})


@pytest.fixture
def vault():
    with Vault() as running:
        yield running


PLACE = "{vault: {mount: kv, path: apps/etl}}"


def access_to(vault, token="good-token"):
    return SecretAccess(vault=VaultAccess(vault.url, Secret(token)))


def test_the_newest_version_counts_and_is_asked_for_once(vault):
    assert read(PLACE, access_to(vault)).reveal() == CANARY
    assert vault.asked == 1
    vault.versions.append({"TOKEN": "newer"})
    assert read(PLACE, access_to(vault)).reveal() == "newer"


def test_each_trouble_with_vault_says_what_to_do(vault):
    assert "may have expired" in refused(PLACE, access_to(vault, "expired"))
    vault.sealed = True
    assert "Vault is sealed" in refused(PLACE, access_to(vault))
    vault.sealed = False
    elsewhere = refused("{vault: {mount: kv, path: other}}", access_to(vault))
    assert "there is no secret TOKEN (looked for it in Vault's kv/other)" in elsewhere
    vault.versions.append(None)
    assert "there is no secret TOKEN" in refused(PLACE, access_to(vault))
    vault.versions.append({"TOKEN": 5})
    assert "is no text" in refused(PLACE, access_to(vault))
    assert "RECONCILER_VAULT_ADDR" in refused(PLACE, SecretAccess())


def test_a_vault_that_is_not_there_is_said():
    gone = SecretAccess(vault=VaultAccess("http://127.0.0.1:1", Secret("t")))
    assert "Vault can't be asked at http://127.0.0.1:1" in refused(PLACE, gone)


def test_providers_are_asked_in_order(vault):
    policy = f"{{env: S_}}, {PLACE}"
    assert read(policy, access_to(vault), secret_env={"S_TOKEN": "first"}).reveal() == "first"
    assert vault.asked == 0


# -- a command -------------------------------------------------------------------------------------


def python(script):
    return SecretAccess(command=(sys.executable, "-c", script))


def test_a_command_prints_all_secrets_or_one_at_a_time():
    whole = python(f'print(\'{{"TOKEN": "{CANARY}"}}\')')
    assert read("", whole).reveal() == CANARY
    one = SecretAccess(
        command=(sys.executable, "-c", "import sys; print(sys.argv[1] + '!')", "{name}")
    )
    assert read("", one).reveal() == "TOKEN!"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import sys; sys.exit(3)", "failed"),
        ("print('no json')", "prints no JSON object"),
        ("print('{\"TOKEN\": 5}')", "is no text"),
        ("print('{}')", "there is no secret TOKEN"),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", "is not UTF-8"),
    ],
)
def test_a_command_that_does_otherwise_is_said(script, said):
    assert said in refused("", python(script))


def test_a_program_that_is_not_there_is_said():
    assert "can't be run" in refused("", SecretAccess(command=("/nonexistent/x",)))


def test_a_repository_cannot_name_a_command():
    with pytest.raises(InvalidManifests) as caught:
        read("{command: [sh, -c, id]}", SecretAccess())
    assert any("'command'" in str(one) or "command" in one.message for one in caught.value.problems)
