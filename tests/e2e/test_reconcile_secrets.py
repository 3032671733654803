"""A canary secret is found nowhere but in the objects that must hold it."""

import base64
import json
from urllib.parse import quote

import pytest

from tests.e2e.site import change, deployment, process
from tests.testbed import seed

CANARY = "c4n4ry+se/cret=77"
ROTATED = "r0t4ted+se/cret=88"
THEIRS = "th31rs+se/cret=99"
VARIABLE = "RECONCILER_SECRET_PW"
REGISTRY = "block/docker-registry/private"


@pytest.fixture
def shop(site):
    site.policy(secrets=[{"env": "RECONCILER_SECRET_"}])
    secret = "${{ secrets.pw }}"
    registry = {
        "kind": "Block",
        "block_type_slug": "docker-registry",
        "name": "private",
        "data": {"username": "bob", "password": secret, "registry_url": "r.test"},
    }
    site.write("a.yaml", registry, process(env={"TOKEN": secret, "URL": f"https://u:{secret}@h"}))
    site.write("b.yaml", deployment(parameters={"token": secret}))
    return site


def forms(secret):
    """A secret as it may appear: as it is, in JSON, in a URL, in base64."""
    raw = secret.encode()
    return {
        secret,
        json.dumps(secret)[1:-1],
        quote(secret, safe=""),
        base64.b64encode(raw).decode().rstrip("="),
    }


def leaks(text):
    return {form for secret in (CANARY, ROTATED, THEIRS) for form in forms(secret) if form in text}


class Listener:
    """Runs commands with the secret at hand and keeps all that they say."""

    def __init__(self, site):
        self.site = site
        self.said = []
        self.secret = CANARY

    def __call__(self, command, *args, code=0):
        done = self.site.run(command, "-vv", *args, env={VARIABLE: self.secret})
        self.said.append((command, args, done))
        assert done.code == code, done
        return done

    def assert_silent(self):
        for command, args, done in self.said:
            assert leaks(done.output) == set(), (command, args)


FORMATS = ("text", "json", "markdown", "html")


def test_a_canary_secret_is_nowhere_but_in_its_objects(shop, tmp_path):
    say = Listener(shop)
    saved = tmp_path / "plan.json"
    say("validate")
    for form in FORMATS:
        say("plan", "--format", form, "--out", saved)
    assert leaks(saved.read_text()) == set()
    say("apply", "--yes")
    assert shop.block("docker-registry", "private")["data"]["password"] == CANARY
    assert shop.deployment("nightly")["parameters"] == {"token": CANARY}

    # Changed behind git's back, in the secret field and in plain ones: shown as changed, no more.
    shop.patch_block("docker-registry", "private", password=THEIRS)
    shop.patch_block("process", "etl", env={"TOKEN": THEIRS, "URL": f"https://u:{CANARY}@h"})
    shop.patch_deployment("nightly", parameters={"token": THEIRS})
    for form in FORMATS:
        shown = say("drift", "--format", form, "--detailed-exitcode", code=2).stdout
        assert "data.password" in shown
        assert "data.env.TOKEN" in shown
        assert "parameters.token" in shown
    drift = say("drift", "--format", "json", "--detailed-exitcode", code=2).json()
    (field,) = change(drift, REGISTRY)["fields"]
    assert (field["path"], field["cause"]) == ("data.password", "drift")
    assert (field["before"], field["after"]) == ("<secret>", "<secret, changed>")
    assert field["source"].startswith("a.yaml:")
    say("apply", "--yes", "--format", "json")
    assert shop.block("docker-registry", "private")["data"]["password"] == CANARY

    # Only the secret's value changed: that is a cause of its own.
    say.secret = ROTATED
    plan = say("plan", "--format", "json", "--out", saved).json()
    assert {found["cause"] for found in plan["changes"]} == {"secret"}
    say("apply", "--plan", saved)
    assert shop.block("docker-registry", "private")["data"]["password"] == ROTATED
    assert say("plan", "--format", "json").json()["changes"] == []
    assert leaks(saved.read_text()) == set()

    # A field that ever held one is redacted when it no longer does.
    shop.write("b.yaml", deployment(parameters={"token": "plain"}))
    (found,) = say("plan", "--format", "json").json()["changes"]
    assert {found["fields"][0][side] for side in ("before", "after")} <= {
        "<secret>",
        "<secret, changed>",
    }

    say.assert_silent()
    assert_inventory_is_silent(shop)
    kept = [path for path in shop.cli.home.rglob("*") if path.is_file()]
    assert leaks(" ".join(path.read_text(errors="replace") for path in kept)) == set()


def assert_inventory_is_silent(shop):
    """Read the raw documents, secret fields included: only the objects themselves hold it."""
    with shop.server.client() as client:
        documents = seed.listing(client, "block_documents", include_secrets=True)
    by_type = {doc["block_type"]["slug"]: doc for doc in documents}
    assert leaks(json.dumps(by_type.pop("docker-registry")))
    assert leaks(json.dumps(by_type.pop("process")))
    assert "reconciler-inventory" in by_type
    quiet = [doc for doc in documents if doc["block_type"]["slug"].startswith("reconciler")]
    assert leaks(json.dumps(quiet)) == set()


def test_an_answer_of_the_server_that_quotes_a_secret_is_cleaned(shop):
    """A parameter that its schema refuses comes back word for word in the server's answer."""
    say = Listener(shop)
    schema = {"type": "object", "properties": {"token": {"type": "integer"}}}
    shop.write(
        "b.yaml",
        deployment(
            parameters={"token": "${{ secrets.pw }}"},
            parameter_openapi_schema=schema,
            enforce_parameter_schema=True,
        ),
    )
    with shop.server.client() as client:  # the server does quote it
        body = {
            "name": "n",
            "flow_id": seed.flow(client),
            "parameters": {"token": CANARY},
            "parameter_openapi_schema": schema,
            "enforce_parameter_schema": True,
        }
        answer = client.post("/deployments/", json=body)
    assert answer.is_client_error
    assert leaks(answer.text)

    report = say("apply", "--yes", "--format", "json", code=1).json()
    found = change(report, "deployment/etl/nightly")
    assert found["outcome"] == "failed"
    assert "integer" in found["error"]
    assert change(report, REGISTRY)["outcome"] == "done"
    say("apply", "--yes", code=1)
    say.assert_silent()


def test_without_secrets_none_is_read_and_none_compared(shop):
    say = Listener(shop)
    say("apply", "--yes")
    shop.patch_block("docker-registry", "private", password=THEIRS, username="eve")
    done = shop.run("plan", "--no-secrets", "--format", "json", "-vv")  # no variable at hand
    assert done.code == 0, done
    (found,) = done.json()["changes"]
    assert [field["path"] for field in found["fields"]] == ["data.username"]
    assert any("not compared" in notice for notice in done.json()["notices"])
    assert leaks(done.output) == set()
    # Nothing asked the server for one either; the inventory's key is no secret of the user's.
    asking = [
        seen
        for seen in shop.proxy.requests
        if "include_secrets=true" in seen.path
        or (seen.body and json.loads(seen.body).get("include_secrets"))
    ]
    assert [b"reconciler-inventory" in seen.body for seen in asking] == [True]

    missing = shop.run("plan")
    assert missing.code == 1
    assert "a.yaml:" in missing.stderr
    assert "there is no secret pw" in missing.stderr
