"""How often a task came into each state since the start, for monitors: a few additions for each slice or batch."""

from collections.abc import Iterable
from dataclasses import dataclass

from scaler_protocol.batch import RESULTS, Status

_LAST_SUCCESS = int(Status.VALUES)


@dataclass(slots=True)
class TaskCounts:
    """One number for each state of a task, in the order of its life; a task may come into the first ones repeatedly."""

    inactive: int = 0
    running: int = 0
    canceling: int = 0
    balance_canceling: int = 0
    worker_disconnecting: int = 0
    success: int = 0
    failed: int = 0
    failed_worker_died: int = 0
    canceled: int = 0
    """Tasks of batches that their client dropped among them."""
    canceled_not_found: int = 0

    def add_results(self, statuses: bytes, counts: Iterable[int], total: int) -> None:
        """Take in how the tasks of some runs ended, `total` of them."""
        if max(statuses) <= _LAST_SUCCESS:
            self.success += total
            return
        for status, count in zip(statuses, counts, strict=True):
            self.add_ended(status, count)

    def add_ended(self, status: int, tasks: int) -> None:
        """Take in that tasks ended in the same way."""
        if status in RESULTS:
            self.success += tasks
        elif status == Status.CANCELLED:
            self.canceled += tasks
        elif status == Status.WORKER_DIED:
            self.failed_worker_died += tasks
        else:
            self.failed += tasks
