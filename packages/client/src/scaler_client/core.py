"""The client's side of the conversation about tasks: credits, functions, batches, outcomes, a new scheduler.

No IO, no clock, no threads. What is to be sent collects in `messages`; outcomes go to the receivers of the batches.
"""

import logging
from collections import Counter
from collections.abc import Callable

from scaler_client.batches import Batch, Receiver
from scaler_client.defined import DefinedFunctions
from scaler_client.outcomes import Failure, read_failure, read_values
from scaler_client.spans import Span
from scaler_protocol import messages as m
from scaler_protocol.batch import F64, U32, Status, column, numbers
from scaler_runtime.session import Up

_log = logging.getLogger(__name__)


class ClientCore:
    """See the module. A batch is waiting for credit, or sent; it is dropped with the outcome of its last task."""

    def __init__(self, timeout_seconds: float) -> None:
        self.messages: list[m.Message] = []
        """To be sent, in order; whoever sends them takes them out."""
        self.waiting_bytes = 0
        """Of the batches that wait for credit."""
        self._timeout_seconds = timeout_seconds
        self._waiting: dict[int, Batch] = {}
        self._sent: dict[int, Batch] = {}
        self._unfinished_tasks = 0  # of those sent
        self._unfinished_bytes = 0
        self._max_tasks = 0
        self._max_bytes = 0
        self._defined = DefinedFunctions()

    @property
    def is_idle(self) -> bool:
        """Whether no task is unfinished."""
        return not self._sent and not self._waiting

    def batch_ids(self) -> set[int]:
        """Return the ids of all batches with unfinished tasks."""
        return {*self._sent, *self._waiting}

    def receivers(self) -> list[Receiver]:
        """Return who waits for outcomes."""
        return [batch.receiver for batch in (*self._sent.values(), *self._waiting.values())]

    # ---- what the user wants

    def submit(self, batch: Batch, now: float) -> None:
        """Take in a batch; it is sent when there is credit for it."""
        batch.submitted_at = now
        self._waiting[batch.batch_id] = batch
        self.waiting_bytes += len(batch.packed.payload)
        self._send_waiting()

    def cancel(self, batch_id: int, index: int) -> None:
        """Ask for the end of a task. One that was not sent ends at once."""
        batch = self._waiting.get(batch_id)
        if batch is not None:
            self._deliver_cancelled(batch, index, index + 1)
            if not batch.unfinished:
                self._drop_waiting(batch)
            self._send_waiting()
            return
        batch = self._sent.get(batch_id)
        if batch is not None and index not in batch.finished and index not in batch.cancelling:
            batch.cancelling.add(index)
            self.messages.append(_cancel(batch_id, [(index, index + 1)]))

    def cancel_all(self) -> None:
        """Ask for the end of all tasks."""
        for batch in list(self._waiting.values()):
            self._drop_waiting(batch)
            self._deliver_cancelled(batch, 0, batch.packed.count)
        for batch in self._sent.values():
            spans = batch.finished.missing(batch.packed.count)
            batch.cancelling.update(*(range(*span) for span in spans))
            self.messages.append(_cancel(batch.batch_id, spans))

    def abandon(self, batch_ids: list[int]) -> None:
        """Drop batches whose outcomes nobody wants; their receivers hear nothing more."""
        sent: list[int] = []
        for batch_id in dict.fromkeys(batch_ids):
            if batch_id in self._waiting:
                self._drop_waiting(self._waiting[batch_id])
            elif batch_id in self._sent:
                sent.append(batch_id)
        if sent:
            self.messages.append(m.AbandonBatches(sent))
            for batch_id in sent:
                self._drop_sent(self._sent[batch_id])
        self._send_waiting()

    # ---- what the scheduler says

    def on_up(self, up: Up) -> None:
        """Registered. A scheduler that knows nothing gets everything again that is not finished."""
        self._max_tasks = up.registered.max_unfinished_tasks
        self._max_bytes = up.registered.max_unfinished_bytes
        if up.fresh:
            self.messages.clear()  # they were meant for the one before
            self._defined.clear()
            for batch in self._sent.values():
                self._send(batch)
                if batch.cancelling:
                    self.messages.append(_cancel(batch.batch_id, [(i, i + 1) for i in sorted(batch.cancelling)]))
        self._send_waiting()

    def on_results(self, results: m.TaskResults) -> None:
        """Deliver outcomes. Those of a batch that is over, or of tasks that have one already, are dropped."""
        batch = self._sent.get(results.batch_id)
        if batch is None:
            return
        payload = memoryview(results.payload)
        position = 0
        columns = (
            numbers(U32, results.starts),
            numbers(U32, results.counts),
            results.statuses,
            numbers(U32, results.sizes),
            numbers(F64, results.durations),
        )
        for start, count, status, size, seconds in zip(*columns, strict=True):
            run = payload[position : position + size]
            position += size
            if start + count > batch.packed.count:
                _log.warning("dropped results of tasks [%d, %d) of %d", start, start + count, batch.packed.count)
                continue
            fresh = batch.finished.add(start, start + count)
            if fresh:
                batch.cancelling.difference_update(range(start, start + count) if batch.cancelling else ())
                _deliver(batch, range(start, start + count), fresh, (status, run, seconds / count))
                self._unfinished_tasks -= sum(high - low for low, high in fresh)
        if not batch.unfinished:
            self._drop_sent(batch)
        self._send_waiting()

    # ---- the end of waiting

    def expire(self, heard_at: float, now: float, make: Failure) -> None:
        """Fail the tasks of batches that are older than the timeout, if nothing was heard for as long."""
        due = [b for b in (*self._sent.values(), *self._waiting.values()) if self._due(b, heard_at) <= now]
        self.abandon([batch.batch_id for batch in due])
        for batch in due:
            self._fail(batch, make)

    def next_expiry(self, heard_at: float) -> float | None:
        """Return when `expire` is wanted, None while no task is unfinished."""
        oldest = next(iter(self._sent.values()), None) or next(iter(self._waiting.values()), None)
        return None if oldest is None else self._due(oldest, heard_at)

    def close(self, failure: Failure | None) -> None:
        """End all tasks, cancelled without a `failure`. Nothing is sent about them any more."""
        batches = [*self._sent.values(), *self._waiting.values()]
        self._sent.clear()
        self._waiting.clear()
        self._defined.clear()
        self.messages.clear()
        self._unfinished_tasks = self._unfinished_bytes = self.waiting_bytes = 0
        for batch in batches:
            if failure is None:
                self._deliver_cancelled(batch, 0, batch.packed.count)
            else:
                self._fail(batch, failure)

    def check(self) -> None:
        """Raise `AssertionError` unless the tables fit together."""
        sent = self._sent.values()
        expected: dict[str, tuple[object, object]] = {
            "unfinished tasks": (self._unfinished_tasks, sum(batch.unfinished for batch in sent)),
            "unfinished bytes": (self._unfinished_bytes, sum(len(batch.packed.payload) for batch in sent)),
            "waiting bytes": (self.waiting_bytes, sum(len(b.packed.payload) for b in self._waiting.values())),
        }
        for name, (counted, true) in expected.items():
            if counted != true:
                raise AssertionError(f"{name}: {counted}, should be {true}")
        for batch in (*sent, *self._waiting.values()):
            if not batch.unfinished or any(index in batch.finished for index in batch.cancelling):
                raise AssertionError(f"batch {batch.batch_id} is over, or cancels what is over")
        if self._waiting and self._has_credit(next(iter(self._waiting.values()))):
            raise AssertionError("a batch waits though there is credit")
        self._defined.check(Counter(batch.function.function_id for batch in sent))

    # ---- sending

    def _send_waiting(self) -> None:
        while self._waiting:
            batch = next(iter(self._waiting.values()))
            if not self._has_credit(batch):
                return
            self._drop_waiting(batch)
            self._sent[batch.batch_id] = batch
            self._unfinished_tasks += batch.unfinished
            self._unfinished_bytes += len(batch.packed.payload)
            self._send(batch)

    def _has_credit(self, batch: Batch) -> bool:
        """Whether the batch may go; one always may."""
        if not self._sent:
            return True
        tasks = self._unfinished_tasks + batch.unfinished
        size = self._unfinished_bytes + len(batch.packed.payload)
        return (not self._max_tasks or tasks <= self._max_tasks) and (not self._max_bytes or size <= self._max_bytes)

    def _send(self, batch: Batch) -> None:
        function = batch.function
        if self._defined.use(function):
            self.messages.append(m.DefineFunction(function.function_id, function.name, function.payload))
        self.messages.append(batch.message())

    def _drop_waiting(self, batch: Batch) -> None:
        del self._waiting[batch.batch_id]
        self.waiting_bytes -= len(batch.packed.payload)

    def _drop_sent(self, batch: Batch) -> None:
        del self._sent[batch.batch_id]
        self._unfinished_tasks -= batch.unfinished
        self._unfinished_bytes -= len(batch.packed.payload)
        forgotten = self._defined.release(batch.function)
        if forgotten:
            self.messages.append(m.ForgetFunctions(forgotten))

    # ---- outcomes

    def _deliver_cancelled(self, batch: Batch, start: int, stop: int) -> None:
        for low, high in batch.finished.add(start, stop):
            batch.receiver.cancelled(low, high)

    def _fail(self, batch: Batch, failure: Callable[[], BaseException]) -> None:
        for low, high in batch.finished.add(0, batch.packed.count):
            batch.receiver.failed(low, high, failure, 0.0)

    def _due(self, batch: Batch, heard_at: float) -> float:
        return max(batch.submitted_at, heard_at) + self._timeout_seconds


_SUCCESS = frozenset((Status.VALUE, Status.VALUES))


def _deliver(batch: Batch, tasks: range, fresh: list[Span], outcome: tuple[int, memoryview, float]) -> None:
    """Give the outcome of a run of tasks (status, bytes, seconds a task) to those of them that have none yet."""
    status, run, seconds = outcome
    if status == Status.CANCELLED:
        for low, high in fresh:
            batch.receiver.cancelled(low, high)
        return
    read = read_values(status, len(tasks), run, batch.serializer) if status in _SUCCESS else read_failure(status, run)
    for low, high in fresh:
        if callable(read):
            batch.receiver.failed(low, high, read, seconds)
        else:
            part = read if high - low == len(tasks) else read[low - tasks.start : high - tasks.start]
            batch.receiver.succeeded(low, part, seconds)


def _cancel(batch_id: int, spans: list[Span]) -> m.CancelTasks:
    starts = column(U32, [start for start, _ in spans])
    return m.CancelTasks(batch_id, starts, column(U32, [stop - start for start, stop in spans]))
