"""Outcomes between the main thread, which makes them, and the IO thread, which sends them.

While a span of tasks runs, the main thread appends results of atomic types to a list, without a lock; the IO thread may
take those that are there. Everything else goes through the lock: once a span, and once for each other outcome.
"""

import threading
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

from scaler_client.serializer import dump_values
from scaler_protocol.batch import F64, MAX_INLINE_BYTES, U8, U32, U64, Status, column
from scaler_protocol.identifiers import result_key
from scaler_protocol.messages import TaskResults
from scaler_worker.failures import Answer, too_large
from scaler_worker.profile import NOTHING, Usage
from scaler_worker.workload import Piece


@dataclass(slots=True)
class _Report:
    """Runs of one slice, as columns that grow."""

    piece: Piece
    starts: "array[int]" = field(default_factory=partial(array, U32))
    counts: "array[int]" = field(default_factory=partial(array, U32))
    statuses: "array[int]" = field(default_factory=partial(array, U8))
    sizes: "array[int]" = field(default_factory=partial(array, U32))
    seconds: "array[float]" = field(default_factory=partial(array, F64))
    payloads: list[bytes] = field(default_factory=list[bytes])
    usages: list[Usage] = field(default_factory=list[Usage])


class Outcomes:
    """See the module."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._reports: list[_Report] = []
        self._piece: Piece | None = None
        self._first = 0  # the task of values[0]
        self._taken = 0  # of values, those that are in a report
        self._mark = 0.0  # since when time counts for what is not in a report
        self.values: list[object] = []
        """Results of the tasks from the span's first, or the last other outcome, on: the main thread appends."""
        self.size = 0
        """Bytes that wait to be sent."""
        self.store_large: Callable[[int, object], Answer | None] | None = None
        """Answers for a task whose atomic result is too large for a message (only an int can be); None if that cannot
        be. Called under the lock, by the thread that finds it.
        """

    # ---- the main thread's part

    def begin(self, piece: Piece, first: int) -> None:
        """Begin a span of tasks; its time counts from here."""
        with self._lock:
            self._piece = piece
            self._first, self._taken, self.values = first, 0, []
            self._mark = self._clock()

    def position(self) -> int:
        """Return the first task of the span that has no outcome."""
        return self._first + len(self.values)

    def add(
        self, status: Status, payload: bytes, count: int = 1, seconds: float | None = None, usage: Usage = NOTHING
    ) -> None:
        """Add the outcome of the next `count` tasks of the span, which took `seconds` and `usage` if measured."""
        with self._lock:
            now = self._clock()
            if seconds is None:  # what the results before it took is not known: equal parts
                before = len(self.values) - self._taken
                seconds = (now - self._mark) * count / (before + count)
                now -= seconds
            if len(self.values) > self._taken:
                self._harvest(now)
            self._put(self.position(), count, status, payload, seconds, usage=usage)
            self._first, self._taken, self.values = self.position() + count, 0, []
            self._mark = self._clock()

    def end(self) -> int:
        """End the span; returns the first task that has no outcome."""
        with self._lock:
            self._harvest(self._clock())
            self._first, self._taken, self.values = self.position(), 0, []
            self._piece = None
            return self._first

    @property
    def client_id(self) -> bytes:
        """The client that the span's results are for."""
        return self._piece.assigned.client_id if self._piece is not None else b""

    def key(self, task: int | None = None) -> bytes:
        """Return the name of a task's result, the next one's, in the object storage; the scheduler knows it as well."""
        slice_id = self._piece.assigned.slice_id if self._piece is not None else 0
        return result_key(self.client_id, slice_id, self.position() if task is None else task)

    @property
    def has_unsent(self) -> bool:
        """Whether a finished span, or an outcome of its own, waits to be sent."""
        return bool(self._reports)

    # ---- the IO thread's part

    def take(self) -> list[TaskResults]:
        """Return everything that is finished, in order."""
        with self._lock:
            if len(self.values) > self._taken:
                self._harvest(self._clock())
            reports, self._reports = self._reports, []
            self.size = 0
        return [_message(report) for report in reports]

    # ---- under the lock

    def _harvest(self, now: float) -> None:
        values = self.values[self._taken :]
        if values:
            self._put_values(self._first + self._taken, values, now - self._mark)
            self._taken += len(values)
            self._mark = now

    def _put_values(self, start: int, values: list[object], seconds: float) -> None:
        """Put results of atomic types, in parts if together they are too much for a message."""
        payload = dump_values(values)
        if len(payload) <= MAX_INLINE_BYTES:
            self._put(start, len(values), Status.VALUES, payload, seconds)
        elif len(values) == 1:
            answer = self.store_large(start, values[0]) if self.store_large is not None else None
            self._put(start, 1, *(answer or (Status.TOO_LARGE, too_large(len(payload)))), seconds)
        else:
            half = len(values) // 2
            self._put_values(start, values[:half], seconds * half / len(values))
            self._put_values(start + half, values[half:], seconds * (len(values) - half) / len(values))

    def _put(
        self, start: int, count: int, status: Status, payload: bytes, seconds: float, *, usage: Usage = NOTHING
    ) -> None:
        piece = self._piece
        if piece is None:
            return
        report, size = self._reports[-1] if self._reports else None, len(payload)
        if report is None or report.piece is not piece or self.size + size > MAX_INLINE_BYTES:
            report = _Report(piece)
            self._reports.append(report)
        report.starts.append(start)
        report.counts.append(count)
        report.statuses.append(status)
        report.sizes.append(size)
        report.seconds.append(max(0.0, seconds))
        report.payloads.append(payload)
        report.usages.append(usage)
        self.size += size


def _message(report: _Report) -> TaskResults:
    assigned = report.piece.assigned
    return TaskResults(
        slice_id=assigned.slice_id,
        client_id=assigned.client_id,
        batch_id=assigned.batch_id,
        starts=report.starts.tobytes(),
        counts=report.counts.tobytes(),
        statuses=report.statuses.tobytes(),
        sizes=report.sizes.tobytes(),
        durations=report.seconds.tobytes(),
        payload=b"".join(report.payloads),
        memory=column(U64, [usage.memory for usage in report.usages]) if assigned.timed else b"",
        cpu=column(F64, [usage.cpu_seconds for usage in report.usages]) if assigned.timed else b"",
    )
