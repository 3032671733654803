"""What is different where somebody sits at a terminal: questions, colours, a progress bar."""

import pytest

from tests.testbed import seed
from tests.testbed.cli import Cli
from tests.testbed.terminal import Terminal

BLOCKS = "---\n".join(
    f"kind: Block\nblock_type_slug: process\nname: b{number}\ndata: {{}}\n" for number in range(6)
)
GREEN, ESCAPE = "\x1b[32m", "\x1b["


@pytest.fixture
def cli(prefect3, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "reconciler.yaml").write_text("name: shop\n")
    (tmp_path / "tree" / "blocks.yaml").write_text(BLOCKS)
    return Cli(home, prefect3.client_env, cwd=tmp_path / "tree")


def names(prefect3):
    with prefect3.client() as client:
        documents = seed.listing(client, "block_documents")
    return {d["name"] for d in documents if d["name"].startswith("b")}


def test_apply_shows_the_plan_asks_and_only_yes_is_a_yes(prefect3, cli):
    with Terminal(cli, "apply") as terminal:
        terminal.wait_for(r"6 to create")
        terminal.wait_for(r"Only 'yes' is a yes: $")
        terminal.enter("y\n")
        assert terminal.wait() == 1
        assert "declined; nothing was changed" in terminal.text
        assert "Traceback" not in terminal.text
    assert names(prefect3) == set()

    with Terminal(cli, "apply") as terminal:
        terminal.wait_for(r"is a yes: $")
        terminal.enter("yes\n")
        assert terminal.wait() == 0, terminal.text
        assert "6 done" in terminal.text
        assert "Applying" in terminal.text, "the progress bar"
        assert "6/6" in terminal.text
        assert GREEN in terminal.seen
    assert names(prefect3) == {f"b{number}" for number in range(6)}

    with Terminal(cli, "apply") as terminal:  # nothing to do, nothing to ask
        assert terminal.wait() == 0, terminal.text
        assert "is a yes" not in terminal.text


def test_destroy_wants_the_name_typed(prefect3, cli):
    assert cli("apply", "--yes").code == 0
    with Terminal(cli, "destroy") as terminal:
        terminal.wait_for(r"Type shop to delete all of it: $")
        terminal.enter("yes\n")
        assert terminal.wait() == 1
        assert "the inventory is called shop" in terminal.text
    assert len(names(prefect3)) == 6
    with Terminal(cli, "destroy") as terminal:
        terminal.wait_for(r"Type shop to delete all of it: $")
        terminal.enter("shop\n")
        assert terminal.wait() == 0, terminal.text
    assert names(prefect3) == set()


def test_ctrl_c_at_the_question_changes_nothing(prefect3, cli):
    with Terminal(cli, "apply") as terminal:
        terminal.wait_for(r"is a yes: $")
        terminal.enter("\x03")
        assert terminal.wait() == 130
        assert terminal.text.endswith("Interrupted.\n")
        assert "Traceback" not in terminal.text
    assert names(prefect3) == set()


def test_colours_are_for_terminals_and_never_with_no_color(cli):
    with Terminal(cli, "plan") as terminal:
        assert terminal.wait() == 0
        assert GREEN in terminal.seen
    with Terminal(cli, "plan", env={"NO_COLOR": "1"}) as terminal:
        assert terminal.wait() == 0
        assert GREEN not in terminal.seen
    piped = cli("plan")
    assert ESCAPE not in piped.output
    assert "6 to create" in piped.stdout
    assert piped.stderr == ""


def test_json_stands_alone_on_stdout_questions_on_stderr(cli):
    done = cli("apply", "--yes", "--format", "json")
    assert done.json()["converged"] is True
    assert cli("plan", "--format", "json").json()["changes"] == []
