"""`reconciler serve` tells: commit statuses to the forge, messages to Slack and to any webhook."""

import hashlib
import hmac
import json

import pytest

from tests.e2e.serving import KEY, Serving
from tests.testbed.forges import TOKEN, ForgeServer
from tests.testbed.http_api import HttpApi, Reply

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SIGNING = "canary-signing-secret"


class Channel(HttpApi):
    """Takes messages, as Slack and others do."""

    def __init__(self):
        self.got = []
        super().__init__([("POST", "/hook/canary-channel", self._take)])

    def _take(self, request):
        self.got.append(request)
        return Reply(200, b"ok")

    @property
    def texts(self):
        return [request.body["text"] for request in self.got]


@pytest.fixture
def channel():
    with Channel() as running:
        yield running


@pytest.fixture(params=["github", "gitlab"])
def forge(request):
    with ForgeServer(request.param) as running:
        yield running


@pytest.fixture
def serving(prefect3, tmp_path):
    bare = tmp_path / "served" / "org" / "shop.git"
    bare.parent.mkdir(parents=True)
    with Serving(prefect3, tmp_path, str(bare), bare) as made:
        made.declare(A="1")
        yield made


def test_each_merged_commit_is_marked_with_what_became_of_it(serving, forge):
    serving.env |= {
        "RECONCILER_FORGE": forge.kind,
        "RECONCILER_FORGE_URL": forge.api,
        "RECONCILER_FORGE_PROJECT": "org/shop",
        "RECONCILER_FORGE_TOKEN": TOKEN,
        "RECONCILER_WEB_URL": "https://reconciler.example",
        "RECONCILER_POLL_SECONDS": "0.3",
    }
    good = serving.push()
    forge.refusals = [Reply(503, b"down for a moment")]
    serving.start()
    serving.until(lambda: forge.statuses)
    serving.work.put("blocks.yaml", "kind: Block\nblock_type_slug: process\nnmae: etl\n")
    bad = serving.push()
    serving.until(lambda: len(forge.statuses) == 2)
    serving.declare(A="2")
    again = serving.push()
    serving.until(lambda: len(forge.statuses) == 3)

    failed = "failed" if forge.kind == "gitlab" else "failure"
    states = [(one["sha"], one["state"]) for one in forge.statuses]
    assert states == [(good, "success"), (bad, failed), (again, "success")]
    words = [one["description"] for one in forge.statuses]
    assert words[0] == "1 applied, 0 in step"
    assert "problem" in words[1]
    assert {one["target_url"] for one in forge.statuses} == {"https://reconciler.example"}

    serving.stop()
    serving.start()
    serving.in_force(again)
    assert len(forge.statuses) == 3  # a restart is no news
    assert TOKEN not in serving.output


def test_drift_and_a_broken_revision_are_told_when_they_begin_and_when_they_end(serving, channel):
    url = f"{channel.url}/hook/canary-channel"
    serving.env |= {
        "RECONCILER_NOTIFY_SLACK_URL": url,
        "RECONCILER_NOTIFY_WEBHOOK_URL": url,
        "RECONCILER_NOTIFY_WEBHOOK_SECRET": SIGNING,
        "RECONCILER_NOTIFY_SECONDS": "0.2",
        "RECONCILER_POLL_SECONDS": "0.3",
        "RECONCILER_DRIFT_SECONDS": "0.5",
    }
    serving.policy(drift="report")
    serving.push()
    serving.start()
    serving.edit(A="a value of theirs")
    serving.until(lambda: len(channel.got) == 2)
    serving.edit(A="1")
    serving.until(lambda: len(channel.got) == 4)
    serving.work.put("blocks.yaml", "kind: Block\nblock_type_slug: process\nnmae: etl\n")
    serving.push()
    serving.until(lambda: len(channel.got) == 6)
    serving.declare(A="1")
    serving.push()
    serving.until(lambda: len(channel.got) == 8)

    by_slack = [r.body for r in channel.got if "blocks" in r.body]
    by_webhook = [r for r in channel.got if "format_version" in r.body]
    assert len(by_slack) == len(by_webhook) == 4
    told = [
        ([one["id"] for one in r.body["begun"]], [one["id"] for one in r.body["ended"]])
        for r in by_webhook
    ]
    drift = f"drift:{KEY}"
    assert told[:2] == [([drift], []), ([], [drift])]
    assert told[2][0][0].startswith("manifests:")
    assert told[3] == ([], told[2][0])
    for request in by_webhook:
        body = json.dumps(request.body, ensure_ascii=False).encode()
        digest = hmac.new(SIGNING.encode(), body, hashlib.sha256).hexdigest()
        assert request.headers["x-reconciler-signature-256"] == f"sha256={digest}"
    everything = json.dumps([request.body for request in channel.got]) + serving.output
    assert "a value of theirs" not in everything  # names of fields, never values
    assert "canary" not in everything


def test_drift_that_is_healed_is_told_once(serving, channel):
    serving.env |= {
        "RECONCILER_NOTIFY_WEBHOOK_URL": f"{channel.url}/hook/canary-channel",
        "RECONCILER_NOTIFY_SECONDS": "0.2",
        "RECONCILER_DRIFT_SECONDS": "0.5",
    }
    serving.push()
    serving.start()
    serving.edit(A="theirs")
    serving.until(lambda: serving.live == {"A": "1"})
    serving.until(lambda: channel.got)
    serving.stop()
    assert [len(r.body["healed"]) for r in channel.got] == [1]
    assert channel.got[0].body["healed"][0]["subject"] == KEY


def test_a_dead_receiver_and_a_dead_forge_hold_nothing_up(serving):
    serving.env |= {
        "RECONCILER_NOTIFY_SLACK_URL": "http://127.0.0.1:1/canary",
        "RECONCILER_NOTIFY_SECONDS": "0",
        "RECONCILER_FORGE": "gitlab",
        "RECONCILER_FORGE_URL": "http://127.0.0.1:1/api",
        "RECONCILER_FORGE_TOKEN": TOKEN,
        "RECONCILER_POLL_SECONDS": "0.3",
        "RECONCILER_DRIFT_SECONDS": "0.5",
    }
    serving.push()
    serving.start()
    serving.edit(A="theirs")
    serving.until(lambda: serving.live == {"A": "1"})
    serving.declare(A="2")
    serving.in_force(serving.push())
    assert serving.stop() == 0
    assert "canary" not in serving.output


def test_a_template_that_is_none_keeps_the_service_from_starting(serving, tmp_path):
    (tmp_path / "t.json").write_text("{{ nothing }}")
    serving.push()
    template = str(tmp_path / "t.json")
    done = serving.cli(
        "serve",
        "--repo",
        serving.url,
        env={
            **serving.env,
            "RECONCILER_WEB_LISTEN": "127.0.0.1:0",
            "RECONCILER_NOTIFY_SLACK_URL": "http://127.0.0.1:1/",
            "RECONCILER_NOTIFY_SLACK_TEMPLATE": template,
        },
    )
    assert done.code == 64
    assert "t.json" in done.stderr
