"""Measures what a task takes of its process: wall time, processor time, memory above what there was at its start.

Memory is looked at each second, by a thread that exists once a task was measured and sleeps while none is, and at the
end.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter, process_time
from typing import Final

SAMPLE_SECONDS: Final = 1.0

_PAGE_BYTES = os.sysconf("SC_PAGESIZE")
_STATM_BYTES = 128


@dataclass(frozen=True, slots=True)
class Usage:
    """What a task took: bytes above the resident size at its start, user and system seconds."""

    memory: int = 0
    cpu_seconds: float = 0.0


NOTHING: Final = Usage()
"""Of a task that was not measured."""


class Profile:
    """See the module. Measures one task at a time, on the main thread."""

    def __init__(
        self,
        *,
        resident_bytes: Callable[[], int] | None = None,
        cpu_seconds: Callable[[], float] = process_time,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._resident_bytes = resident_bytes or self._read_resident_bytes
        self._cpu_seconds = cpu_seconds
        self._clock = clock
        self._lock = threading.Lock()  # guards what both threads write
        self._is_running = False
        self._peak = 0
        self._thread: threading.Thread | None = None
        self._is_resting = False
        self._wanted = threading.Event()
        self._start = 0
        self._cpu_begun = 0.0
        self._begun = 0.0
        self._last = NOTHING

    def begin(self) -> None:
        """Measure from here."""
        with self._lock:
            self._start = self._peak = self._resident_bytes()
            self._is_running = True
            if self._is_resting:
                self._is_resting = False
                self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._sample_for_ever, name="scaler-profile", daemon=True)
            self._thread.start()
        self._cpu_begun = self._cpu_seconds()
        self._begun = self._clock()

    def stop(self) -> float | None:
        """End it and return the wall seconds; None if nothing was begun. The rest is for `take`."""
        if not self._is_running:
            return None
        seconds, cpu_seconds = self._clock() - self._begun, self._cpu_seconds() - self._cpu_begun
        self.sample()
        with self._lock:
            self._is_running = False
            self._last = Usage(self._peak - self._start, max(0.0, cpu_seconds))
        return seconds

    def take(self) -> Usage:
        """Return what was measured since the last time, once."""
        last, self._last = self._last, NOTHING
        return last

    def sample(self) -> None:
        """Look at the memory."""
        with self._lock:
            if self._is_running:
                self._peak = max(self._peak, self._resident_bytes())

    def _sample_for_ever(self) -> None:
        pause = threading.Event()  # never set
        was_running = True
        while True:
            pause.wait(SAMPLE_SECONDS)
            self.sample()
            with self._lock:
                self._is_resting = not (self._is_running or was_running)
                was_running = self._is_running
            if self._is_resting:
                self._wanted.wait()
                self._wanted.clear()
                was_running = True

    @cached_property
    def _statm(self) -> int:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def _read_resident_bytes(self) -> int:
        return int(os.pread(self._statm, _STATM_BYTES, 0).split()[1]) * _PAGE_BYTES
