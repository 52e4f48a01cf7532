"""The last outcomes that a client was sent: a batch that was on its way then may still wait for one of them.

Bounded; what is not here any more the client is asked for, by `Status.DEPENDENCY_OVER`.
"""

from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from scaler_protocol.batch import U32, Status, numbers
from scaler_protocol.messages import TaskResults

MAX_BYTES = 1 << 20
MAX_MESSAGES = 4096


class Run(NamedTuple):
    """How tasks [start, stop) ended."""

    start: int
    stop: int
    status: int
    payload: bytes


class Recent:
    """See the module."""

    def __init__(self) -> None:
        self._kept: deque[TaskResults] = deque()
        self._of_batch: dict[int, deque[TaskResults]] = {}
        self._size = 0

    def add(self, results: TaskResults) -> None:
        """Keep one message and let the oldest go. That a batch came too late is no outcome."""
        if len(results.payload) > MAX_BYTES or Status.DEPENDENCY_OVER in results.statuses:
            return
        self._kept.append(results)
        self._of_batch.setdefault(results.batch_id, deque()).append(results)
        self._size += len(results.payload)
        while self._size > MAX_BYTES or len(self._kept) > MAX_MESSAGES:
            oldest = self._kept.popleft()
            self._size -= len(oldest.payload)
            same = self._of_batch[oldest.batch_id]
            same.popleft()
            if not same:
                del self._of_batch[oldest.batch_id]

    def runs(self, batch_id: int) -> list[Run]:
        """Return what is kept of a batch, in the order of its tasks."""
        return sorted(chain.from_iterable(map(runs_of, self._of_batch.get(batch_id, ()))), key=lambda run: run.start)


def runs_of(results: TaskResults) -> Iterator[Run]:
    """Return the runs of a message."""
    position = 0
    columns = numbers(U32, results.starts), numbers(U32, results.counts), results.statuses, numbers(U32, results.sizes)
    for start, count, status, size in zip(*columns, strict=True):
        yield Run(start, start + count, status, results.payload[position : position + size])
        position += size
