"""How long `reconciler --help` takes, beside an empty Python and `import typer`, its largest part.

    python benchmarks/startup.py [ROUNDS]

The ratio says more than the milliseconds: it stays the same on a busy machine.
"""

import statistics
import subprocess
import sys
import time

LIMIT_MS = 300
COMMANDS = {
    "python": [sys.executable, "-c", ""],
    "import typer": [sys.executable, "-c", "import typer"],
    "reconciler --help": [sys.executable, "-m", "reconciler", "--help"],
}


def milliseconds(command):
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    taken = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, command in COMMANDS.items():  # in turns: a slow moment strikes all
            taken[name].append(milliseconds(command))
    middle = {name: statistics.median(times[1:]) for name, times in taken.items()}
    best = {name: min(times[1:]) for name, times in taken.items()}
    for name in COMMANDS:
        print(f"{name:<20} median {middle[name]:6.0f} ms   best {best[name]:6.0f} ms")
    ratio = middle["reconciler --help"] / middle["import typer"]
    verdict = "below" if best["reconciler --help"] < LIMIT_MS else "ABOVE"
    print(f"ratio to `import typer`: {ratio:.2f}; at best {verdict} {LIMIT_MS} ms")


if __name__ == "__main__":
    main()
