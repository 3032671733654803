"""Ports for programs that listen to them some seconds after they were chosen."""

import random
import socket
from contextlib import suppress
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """Choose ports of 127.0.0.1 that no connection, and nobody who takes any port, gets meanwhile.

    Those come from the kernel's range for local ports; these are below it.

    Raises:
        RuntimeError: there are not so many.
    """
    lowest, highest = map(int, _RANGE.read_text().split())
    # Where the range begins as low as may be, there is room above it only.
    ours = range(lowest // 2, lowest) if lowest > 8192 else range(highest + 1, 65536)
    found: list[int] = []
    for port in random.sample(ours, min(len(ours), 100 * count)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no ports are free below those of connections")


def free_port() -> int:
    """Choose one."""
    return free_ports(1)[0]
