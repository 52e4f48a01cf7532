"""The functions that are run. In a module of their own, so that every system can import them by name."""

import time


def increment(value: int) -> int:
    """Return the next number: as little work as a task can be."""
    return value + 1


def echo(value: bytes) -> bytes:
    """Return what came in."""
    return value


def nap(seconds: float) -> float:
    """Wait, and return when the wait began, in seconds of the machine's monotonic clock."""
    began = time.monotonic()
    time.sleep(seconds)
    return began
