"""Counts primes: a flow that computes something."""

from prefect import flow, task


@task
def sieve(below: int) -> list[int]:
    """Return the primes below a limit, by the sieve of Eratosthenes."""
    candidates = bytearray([1]) * max(below, 2)
    candidates[0:2] = b"\0\0"
    for number in range(2, int(below**0.5) + 1):
        if candidates[number]:
            multiples = range(number * number, below, number)
            candidates[number * number : below : number] = bytes(len(multiples))
    return [number for number in range(below) if candidates[number]]


@flow(log_prints=True)
def primes(below: int = 1000) -> int:
    """Count the primes below a limit."""
    found = sieve(below)
    print(f"{len(found)} primes below {below}, the largest is {found[-1] if found else 'none'}")
    return len(found)
