"""Fails on purpose."""

from prefect import flow


@flow(log_prints=True)
def fails(message: str = "on purpose") -> None:
    """Raise an error."""
    print("this will not end well")
    raise RuntimeError(message)
