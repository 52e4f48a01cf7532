"""Writes what tasks wrote to this program's own standard output and error, in a thread of its own: these may be slow.

Outcomes that came after it wait until it is written, so that who has a result has the output before it.
"""

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from scaler_protocol.batch import Status
from scaler_protocol.messages import TaskResults

HOLD_BYTES: Final = 8 << 20
RESUME_BYTES: Final = 2 << 20
"""With so much unwritten workers are to hold what they have, and with so little to go on."""

_CANCELLED = {Status.CANCELLED}
_log = logging.getLogger(__name__)


class Output:
    """See the module. The IO thread calls all but `finish`; `wake` has it look at `due` and `is_slow` again."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._chunks: deque[tuple[bool, bytes]] = deque()
        self._something = threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._is_slow = False
        self._taken = 0  # bytes that were put
        self._written = 0  # of these
        self.has_begun = False
        """Whether anything was ever put; before that nothing is due, or slow."""
        self._delayed: deque[tuple[int, TaskResults]] = deque()  # each with what had been put before
        self._awaited: int | None = None  # what is to be written before the first of them

    def put(self, data: bytes, *, is_error: bool) -> None:
        """Have something written, after everything that was put before."""
        self.has_begun = True
        self._taken += len(data)
        self._chunks.append((is_error, data))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="scaler-output", daemon=True)
            self._thread.start()
        self._something.release()

    def delays(self, results: TaskResults) -> bool:
        """Whether outcomes have to wait, in which case `due` gives them out. Word of cancelled tasks never does."""
        if (self._written >= self._taken and not self._delayed) or set(results.statuses) == _CANCELLED:
            return False
        self._delayed.append((self._taken, results))
        return True

    def due(self, *, at_once: bool = False) -> list[TaskResults]:
        """Return the outcomes that have waited long enough; all of them with `at_once`."""
        due: list[TaskResults] = []
        while self._delayed:
            self._awaited = self._delayed[0][0]  # before looking: the other thread may be about to pass it
            if self._written < self._awaited and not at_once:
                break
            due.append(self._delayed.popleft()[1])
        return due

    @property
    def is_slow(self) -> bool:
        """Whether more waits to be written than should."""
        waiting = self._taken - self._written
        self._is_slow = waiting > (RESUME_BYTES if self._is_slow else HOLD_BYTES)
        return self._is_slow

    def close(self) -> None:
        """Nothing comes any more."""
        self._something.release()

    def finish(self, seconds: float) -> None:
        """Wait, in any thread, until all is written, for `seconds` at most."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            self._something.acquire()
            if not self._chunks:
                return
            is_error, data = self._chunks.popleft()
            with _writing:
                write(sys.stderr if is_error else sys.stdout, data)
            self._written += len(data)
            awaited = self._awaited
            if (awaited is not None and self._written >= awaited) or (
                self._is_slow and self._taken - self._written <= RESUME_BYTES
            ):
                self._awaited = None
                self._wake()


def write(stream: Any, data: bytes) -> None:
    """Write bytes as they are, or as UTF-8 where a stream takes text only, as in notebooks. Raises nothing."""
    if stream is None:
        return
    try:
        buffer = getattr(stream, "buffer", None)
        if buffer is None:
            stream.write(data.decode(errors="replace"))
        else:
            stream.flush()  # what this program wrote before
            rest = memoryview(data)
            while rest:
                rest = rest[buffer.write(rest) :]  # without a buffer, it may take a part
        stream.flush()
    except Exception as error:  # noqa: BLE001 - closed, nobody reads it, or an object of the user's
        _log.debug("the output of tasks cannot be written: %r", error)


_writing = threading.Lock()
"""Nobody forks in the middle: the child would wait for ever for the stream's own lock."""

os.register_at_fork(before=_writing.acquire, after_in_parent=_writing.release, after_in_child=_writing.release)
