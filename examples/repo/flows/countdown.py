"""Counts down: slow enough to be cancelled, and with a child process that must go too."""

import subprocess
import sys
import time

from prefect import flow


@flow(log_prints=True)
def countdown(seconds: int = 10) -> int:
    """Count the seconds down."""
    with subprocess.Popen(
        [sys.executable, "-c", "import sys, time; time.sleep(float(sys.argv[1]))", str(seconds)]
    ) as child:
        print(f"the child process is {child.pid}")
        for left in range(seconds, 0, -1):
            print(f"{left} …")
            time.sleep(1)
    print("done")
    return seconds
