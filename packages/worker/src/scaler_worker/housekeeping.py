"""What a process does between tasks now and then: collect garbage, and give free memory back to the system."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

from scaler_runtime.free_memory import give_back_free_memory

_PAGE_BYTES = os.sysconf("SC_PAGESIZE")


class Housekeeping:
    """Due every `interval_seconds` while tasks run, and once after the last of them."""

    def __init__(
        self,
        interval_seconds: float,
        trim_threshold_bytes: int,
        *,
        collect: Callable[[], object] = gc.collect,
        resident_bytes: Callable[[], int] | None = None,
        trim: Callable[[], object] = give_back_free_memory,
    ) -> None:
        self._interval_seconds = interval_seconds
        self._trim_threshold_bytes = trim_threshold_bytes
        self._collect = collect
        self._resident_bytes = resident_bytes or own_resident_bytes
        self._trim = trim
        self._due: float | None = None

    def note_work(self, now: float) -> None:
        """Tasks have run: there may be something to do in a while."""
        if self._due is None:
            self._due = now + self._interval_seconds

    def patience(self, now: float) -> float | None:
        """Return how long one may wait until it is due, None for ever."""
        return None if self._due is None else max(0.0, self._due - now)

    def run_if_due(self, now: float) -> None:
        if self._due is None or now < self._due:
            return
        self._due = None
        self._collect()
        if self._resident_bytes() > self._trim_threshold_bytes:
            self._trim()


def own_resident_bytes() -> int:
    """Return this process's resident size."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE_BYTES
