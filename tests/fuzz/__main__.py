"""Fuzz one target, guided by coverage (atheris): `python -m tests.fuzz TARGET [libFuzzer options]`.

The small corpus in the repository is read; what is found beyond it stays in `build/fuzz`. A failing
input is written to `build/fuzz/TARGET/`; put it into the corpus with its mending.
"""

import logging
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["reconciler"], enable_loader_override=False):
    from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")


def main(name, options):
    grown = Path("build/fuzz") / name
    grown.mkdir(parents=True, exist_ok=True)
    kept = CORPUS / name
    logging.disable(logging.CRITICAL)
    arguments = [sys.argv[0], *options, f"-artifact_prefix={grown}/", "-timeout=10", str(grown)]
    atheris.Setup([*arguments, *([str(kept)] if kept.is_dir() else [])], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"one of: {' '.join(TARGETS)}")
    main(sys.argv[1], sys.argv[2:])
