import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from reconciler.cli import console
from reconciler.cli.render import Format, markdown, render, words
from reconciler.model.keys import Key
from reconciler.model.places import Place
from reconciler.model.plan import Action, Cause, Change, FieldChange, Plan
from reconciler.model.report import Outcome, Report, Result
from reconciler.model.values import ABSENT

FIELD = FieldChange("data.image", "a:1", "a:2", Cause.GIT, Place("blocks/etl.yaml", 5, 3))
UPDATE = Change(
    Key.of("block", "docker-container", "etl"),
    Action.UPDATE,
    Cause.GIT,
    "changed in git",
    Place("blocks/etl.yaml", 1, 1),
    fields=(
        FIELD,
        FieldChange("data.env.A", ABSENT, None, Cause.DRIFT, held="drift is reported only"),
    ),
    effects=("its runs are rewritten",),
)
HELD = Change(
    Key.of("block", "process", "x"),
    Action.BLOCKED,
    Cause.REMOVED,
    "allow with --allow-cascade",
    wanted=Action.DELETE,
)
PLAN = Plan(
    revision="0123456789abcdef+dirty:99",
    digest="sha256:" + "0" * 64,
    inventory="prod",
    server="Prefect 3.8.8",
    changes=(UPDATE, HELD),
    unchanged=7,
    reads=3,
    writes=2,
    notices=("deletes are held",),
    environment="dev",
)
REPORT = Report(
    PLAN,
    (
        Outcome(UPDATE, Result.FAILED, "the server said no", remaining=(FIELD,)),
        Outcome(HELD, Result.HELD),
    ),
    error="the lease was lost",
)


@pytest.mark.parametrize("colours", [None, "truecolor"])
def test_a_long_document_is_printed_in_pieces_as_it_would_be_as_a_whole(colours):
    """Also a bracket that is text, a backslash at a line's end, a tab, and empty lines at the seams."""
    odd = replace(UPDATE, reason="[bold]not markup[/] \\", effects=("a\tb", "[", ":100: \x1b[2J"))
    plan = replace(PLAN, changes=(odd,) * 700)
    text = render(plan, Format.TEXT) + "\n" * 700
    said = []
    for show in (console.show, Console.print):
        file = io.StringIO()
        terminal = Console(
            file=file,
            color_system=colours,
            force_terminal=bool(colours),
            soft_wrap=True,
            highlight=False,
            emoji=False,
        )
        show(terminal, text)
        said.append(file.getvalue())
    assert said[0] == said[1]
    assert ("\x1b[" in said[0]) is bool(colours)


def plain(markup):
    console = Console(
        width=200,
        file=None,
        record=True,
        no_color=True,
        highlight=False,
        soft_wrap=True,
        quiet=False,
    )
    with console.capture() as captured:
        console.print(markup)
    return captured.get()


@pytest.mark.parametrize("form", list(Format))
def test_every_format_names_key_field_cause_place_effect_and_hold(form):
    text = render(PLAN, form)
    text = plain(text) if form is Format.TEXT else text
    for part in (
        "block/docker-container/etl",
        "data.image",
        "a:1",
        "a:2",
        "git",
        "line 5" if form is Format.TEXT else "blocks/etl.yaml:5:3",
    ):
        assert part in text
    for part in ("its runs are rewritten", "--allow-cascade", "deletes are held", "delete"):
        assert part.replace("-", "") in text.replace("-", "").replace("\\", "")


@pytest.mark.parametrize("form", list(Format))
def test_every_format_tells_how_each_change_ended(form):
    text = render(REPORT, form)
    text = plain(text) if form is Format.TEXT else text
    assert "the server said no" in text
    assert "failed" in text


def test_json_is_the_public_form():
    read = json.loads(render(PLAN, Format.JSON))
    assert read["format_version"] == 1
    assert read["summary"] == {
        "create": 0,
        "update": 1,
        "delete": 0,
        "adopt": 0,
        "unchanged": 7,
        "blocked": 1,
        "drift": 1,
    }
    assert read["requests"] == {"reads": 3, "writes": 2}
    change = next(c for c in read["changes"] if c["action"] == "blocked")
    assert change["wanted"] == "delete"
    report = json.loads(render(REPORT, Format.JSON))
    assert report["converged"] is False
    assert [c["outcome"] for c in report["changes"]] == ["failed", "held"]


def test_markup_in_values_is_shown_and_not_obeyed():
    evil = Change(
        Key.of("block", "process", "x"),
        Action.UPDATE,
        Cause.GIT,
        "[bold]@team</details> | `",
        fields=(
            FieldChange("data.image", "[red]x[/red]", "<script>|`</details>\n# big", Cause.GIT),
        ),
    )
    plan = Plan("r", "d", "i", "s", (evil,))
    assert "[red]x[/red]" in plain(render(plan, Format.TEXT))
    assert "<script>" not in render(plan, Format.HTML)
    text = markdown.write(plan)
    assert "@team" not in text
    assert text.count("</details>") == 2  # the section's own, and the value inside its code span
    assert "\n# big" not in text


@pytest.mark.parametrize("value", ["`` @all ``", "a`b``c```d", "``</details># x"])
def test_no_number_of_backticks_leaves_the_code_of_a_comment(value):
    field = FieldChange("description", ABSENT, value, Cause.GIT)
    change = replace(UPDATE, fields=(field,), source=Place("a`b.yaml", 1, 1))
    text = render(replace(PLAN, changes=(change,)), Format.MARKDOWN)
    row = next(line for line in text.splitlines() if "description" in line)
    fence = "`" * (1 + max(len(run) for run in re.findall("`+", value)))
    assert row.count(fence) == 2
    assert "`` a`b.yaml:1:1 ``" in text


def test_a_report_with_holds_does_not_say_that_all_matches():
    held = Report(PLAN, (Outcome(UPDATE, Result.DONE), Outcome(HELD, Result.HELD)))
    assert "But for what is held back, Prefect matches" in plain(render(held, Format.TEXT))
    done = Report(PLAN, (Outcome(UPDATE, Result.DONE),))
    assert ". Prefect matches the manifests." in plain(render(done, Format.TEXT))


def test_nothing_in_a_plan_steers_the_terminal():
    change = replace(UPDATE, reason="changed by \x1b]0;evil\x07", fields=())
    raw = FieldChange("description", ABSENT, "<\x1b[2Jgone>", Cause.GIT)
    plan = replace(PLAN, changes=(change, replace(UPDATE, fields=(raw,))))
    text = render(plan, Format.TEXT)
    assert "\x1b" not in text
    assert "\x07" not in text


@pytest.mark.parametrize("form", [Format.TEXT, Format.MARKDOWN, Format.HTML])
def test_nothing_in_a_plan_turns_its_text_round(form):
    """A `\u202e` lets a reviewer read another image than the one that will run."""
    raw = FieldChange("data.image", ABSENT, "shop\u202e1.0:live\u2066", Cause.GIT)
    text = render(replace(PLAN, changes=(replace(UPDATE, fields=(raw,)),)), form)
    assert "\u202e" not in text
    assert "\u2066" not in text


def test_a_comment_stays_below_githubs_limit_and_counts_what_it_left_out():
    many = tuple(
        Change(Key.of("block", "process", f"b{n}"), Action.CREATE, Cause.NEW, "x" * 300)
        for n in range(1000)
    )
    text = markdown.write(Plan("r", "d", "i", "s", many))
    assert len(text) < 65_536
    assert "more changes" in text


def test_long_values_are_cut_and_counted():
    assert words.value("x" * 1000).endswith("(1002 characters)")
    assert words.value(ABSENT) == "(not set)"
    assert words.value(None) == "null"


@pytest.mark.parametrize(
    ("revision", "short"),
    [
        ("0123456789abcdef", "0123456789"),
        ("0123456789abcdef+dirty:aaaa", "0123456789+dirty:aaaa"),
        ("sha256:" + "a" * 64, "sha256:" + "a" * 12),
    ],
)
def test_revisions_are_shortened_for_people(revision, short):
    assert words.short(revision) == short


def test_text_names_another_file_than_the_resources_own_in_full():
    # a patch of an environment, for example, stands in reconciler.yaml
    elsewhere = replace(FIELD, source=Place("reconciler.yaml", 9, 7))
    plan = replace(PLAN, changes=(replace(UPDATE, fields=(elsewhere,)),))
    assert "reconciler.yaml:9:7" in plain(render(plan, Format.TEXT))


def test_a_report_tells_of_what_went_well_in_a_line_each():
    fine = replace(UPDATE, action=Action.CREATE, cause=Cause.NEW)
    text = plain(
        render(Report(replace(PLAN, changes=(fine,)), (Outcome(fine, Result.DONE),)), Format.TEXT)
    )
    assert "✓ + block/docker-container/etl  create (new)  blocks/etl.yaml:1:1" in text
    assert "a:2" not in text
    updated = plain(render(Report(PLAN, (Outcome(UPDATE, Result.DONE),)), Format.TEXT))
    assert 'data.image: "a:1" → "a:2"' in updated


def test_the_end_of_all_has_no_revision():
    assert words.title(replace(PLAN, revision="")) == "prod (dev) on Prefect 3.8.8"


def test_a_hold_is_said_once_with_what_allows_it():
    text = plain(render(Report(PLAN, (Outcome(HELD, Result.HELD),)), Format.TEXT))
    assert "!   block/process/x  held: delete (removed)\n      allow with --allow-cascade" in text


def test_both_sides_of_a_mapping_are_written_in_one_order():
    assert words.value({"b": 1, "a": [2]}) == words.value({"a": [2], "b": 1})


def test_nothing_to_do_is_said():
    plan = Plan("r", "d", "i", "s", (), unchanged=3)
    assert words.summary(plan) == "nothing to do, 3 in step"
    assert "matches the manifests" in render(Report(plan), Format.TEXT)
