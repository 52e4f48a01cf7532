"""The functions that are run. In a module of their own, so that every system can import them by name."""

import os
import time


def increment(value):
    """Return the next number: as little work as a task can be."""
    return value + 1


def echo(value):
    """Return what came in."""
    return value


def size_of(array):
    """Return the bytes of an array, having touched its first page only."""
    return array.nbytes if array[0] >= 0 else 0


def nap(seconds):
    """Wait, and return when the wait began, in seconds of the machine's monotonic clock."""
    began = time.monotonic()
    time.sleep(seconds)
    return began


def spin(seconds):
    """Compute for so long."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def pid_after(seconds):
    """Wait, and return the number of the process."""
    time.sleep(seconds)
    return os.getpid()


def nothing(_):
    """Return nothing."""


def nap_by_process(seconds):
    """Wait as long as is said for this process, or else for the others."""
    time.sleep(seconds.get(os.getpid(), seconds["else"]))
