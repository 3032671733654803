import json

import pytest

from reconciler.errors import UsageError
from reconciler.model.status import Concern, Message
from reconciler.notify import Template
from reconciler.notify.forms import generic_json, lines, slack_json

DRIFT = Concern("drift", "deployment/etl/nightly", "tags changed in the API")
OVER = Concern("source", "", "the branch is gone")
HEALED = Concern("healed", "block/process/x", "env changed in the API; git's value is back")


def message(**more):
    return Message("shop", "http://p.test/api", "a" * 40, (DRIFT,), (OVER,), (HEALED,), **more)


def test_the_generic_form_has_everything_by_itself():
    made = generic_json(message(link="https://r.example"))
    assert made["format_version"] == 1
    assert made["begun"] == [
        {
            "id": "drift:deployment/etl/nightly",
            "topic": "drift",
            "subject": "deployment/etl/nightly",
            "text": "tags changed in the API",
        }
    ]
    assert made["text"].splitlines() == [
        "🔴 drift: deployment/etl/nightly — tags changed in the API",
        "🟢 over: repository: the branch is gone",
        "🔧 healed: block/process/x — env changed in the API; git's value is back",
    ]
    json.dumps(made)


def test_slack_gets_no_markup_but_ours():
    evil = Concern("failed", "block/x/<!channel>", "& <https://evil.example|click>")
    text = slack_json(Message("shop", "", None, (evil,)))["text"]
    assert "<" not in text.replace("*", "")
    assert "&lt;!channel&gt;" in text
    assert "&amp;" in text


def test_a_message_about_thousands_stays_short():
    many = tuple(Concern("failed", f"block/x/{n}", "y" * 5000) for n in range(3000))
    made = Message("shop", "", None, many, many, many)
    assert len(list(lines(made))) == 48
    assert len(slack_json(made)["text"]) < 12_000
    assert "… and 2985 more" in slack_json(made)["text"]
    markup = tuple(Concern("failed", f"block/x/{n}", "&<>" * 90) for n in range(3000))
    for block in slack_json(Message("shop", "", None, markup, many, many))["blocks"]:
        assert len(block["text"]["text"]) <= 3000


def test_a_template_gives_the_form_that_its_user_wants(tmp_path):
    file = tmp_path / "teams.json"
    file.write_text(
        '{"title": {{ inventory | tojson }}, "body": {{ lines | join("\\n") | tojson }}}'
    )
    made = Template(file)(message())
    assert made["title"] == "shop"
    assert made["body"].startswith("🔴 drift")


@pytest.mark.parametrize(
    "text",
    ["{{ nothing }}", "{% if %}", "no json", "{{ ''.__class__.__mro__[1].__subclasses__() }}"],
)
def test_a_template_that_does_not_work_is_said_before_anything_is_sent(tmp_path, text):
    file = tmp_path / "t.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"t\.json"):
        Template(file)
    with pytest.raises(UsageError):
        Template(tmp_path / "missing")
