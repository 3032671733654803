"""What strangers send: each input of the corpora, and a bounded search for new ones."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS
from tests.testbed.thorough import THOROUGH

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "fuzz" / "corpus"


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_inputs_that_were_found_once_do_no_harm_again(name):
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs
    for one in [b"", *(path.read_bytes() for path in inputs)]:
        TARGETS[name](one)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_nothing_new_is_found_in_a_bounded_search(name):
    # The same search every time: what a change did not cause shall not fail it.
    bounds = ["-max_total_time=600"] if THOROUGH else ["-runs=8000", "-seed=1"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, *bounds, "-max_len=4096"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "DONE" in done.stderr
