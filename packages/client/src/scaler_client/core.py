"""The client's side of the conversation about tasks: credits, functions, batches, outcomes, a new scheduler.

No IO, no clock, no threads. What is to be sent collects in `messages`; outcomes go to the receivers of the batches.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any

from scaler_client.batches import Batch, Receiver
from scaler_client.defined import DefinedFunctions
from scaler_client.exceptions import MissingObjects
from scaler_client.future import NO_PROFILE, ProfileResult, ScalerFuture
from scaler_client.handles import Handle
from scaler_client.outcomes import Failure, ResultStore, read_failure, read_values
from scaler_client.serializer import Serializer
from scaler_client.sources import Lost, Source, delivered, is_done, outcome_of, place_of
from scaler_client.spans import Span
from scaler_client.stored_result import StoredResult
from scaler_protocol import messages as m
from scaler_protocol.batch import F64, RESULTS, U32, U64, Status, column, numbers, unpack_stored
from scaler_runtime.session import Up

_Outcome = tuple[int, memoryview, ProfileResult]
"""Status and bytes of a run, and what each of its tasks took."""

_log = logging.getLogger(__name__)


class ClientCore:
    """See the module. A batch is waiting for credit, or sent; it is dropped with the outcome of its last task."""

    def __init__(self, timeout_seconds: float, store: ResultStore, defined: DefinedFunctions | None = None) -> None:
        """`defined`: what the scheduler has of this client already."""
        self.messages: list[m.Message] = []
        """To be sent, in order; whoever sends them takes them out."""
        self.waiting_bytes = 0
        """Of the batches that wait for credit."""
        self._timeout_seconds = timeout_seconds
        self._store = store
        self._waiting: dict[int, Batch] = {}
        self._sent: dict[int, Batch] = {}
        self._unfinished_tasks = 0  # of those sent
        self._unfinished_bytes = 0
        self._max_tasks = 0
        self._max_bytes = 0
        self._defined = DefinedFunctions() if defined is None else defined
        self.has_abandoned = False
        """Whether the scheduler was told to drop a batch: its tasks may still run."""

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
        self.waiting_bytes += batch.packed.inline_bytes
        if batch.packed.waits is not None:
            batch.packed.waits.connect(lambda future: self._source_of(future, batch.serializer))
            self._end_lost(batch)
        self._send_waiting()

    def cancel(self, batch_id: int, index: int) -> None:
        """Ask for the end of a task. One that was not sent ends at once."""
        batch = self._waiting.get(batch_id)
        if batch is not None:
            self._deliver_cancelled(batch, index, index + 1)
            if not batch.unfinished:
                self._drop_waiting(batch)
            if batch.sources:
                self._end_all_lost()
            self._send_waiting()
            return
        batch = self._sent.get(batch_id)
        if batch is not None and index not in batch.finished and index not in batch.cancelling:
            batch.cancelling.add(index)
            self.messages.append(_cancel(batch_id, [(index, index + 1)]))

    def cancel_all(self) -> None:
        """Ask for the end of all tasks."""
        self.cancel_batches(self.batch_ids())

    def cancel_batches(self, batch_ids: Iterable[int]) -> None:
        """Ask for the end of all tasks of some batches."""
        wanted = set(batch_ids)
        for batch in [batch for batch in self._waiting.values() if batch.batch_id in wanted]:
            self._drop_waiting(batch)
            self._deliver_cancelled(batch, 0, batch.packed.count)
        for batch in [batch for batch in self._sent.values() if batch.batch_id in wanted]:
            spans = batch.finished.missing(batch.packed.count)
            batch.cancelling.update(*(range(*span) for span in spans))
            self.messages.append(_cancel(batch.batch_id, spans))
        self._end_all_lost()
        self._send_waiting()

    def abandon(self, batch_ids: list[int]) -> None:
        """Drop batches whose outcomes nobody wants; their receivers hear nothing more."""
        sent: list[int] = []
        for batch_id in dict.fromkeys(batch_ids):
            if batch_id in self._waiting:
                self._drop_waiting(self._waiting[batch_id])
            elif batch_id in self._sent:
                sent.append(batch_id)
        if sent:
            self.has_abandoned = True
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
            for batch in [batch for batch in self._sent.values() if batch.packed.waits is not None]:
                self._take_back(batch)
            self.messages.clear()  # they were meant for the one before
            self._defined.clear()
            for batch in self._sent.values():
                self._send(batch, batch.message())
        self._send_waiting()

    def on_results(self, results: m.TaskResults) -> None:
        """Deliver outcomes. Those of a batch that is over, or of tasks that have one already, are dropped."""
        batch = self._sent.get(results.batch_id)
        payload = memoryview(results.payload)
        position = 0
        counts = numbers(U32, results.counts)
        columns = (
            numbers(U32, results.starts),
            counts,
            results.statuses,
            numbers(U32, results.sizes),
            _profiles(results, counts),
        )
        is_early = False
        for start, count, status, size, profile in zip(*columns, strict=True):
            run = payload[position : position + size]
            position += size
            if batch is None:
                self._delete_stored(status, run)
                continue
            if status == Status.DEPENDENCY_OVER:
                is_early = True
                continue
            if start + count > batch.packed.count:
                _log.warning("dropped results of tasks [%d, %d) of %d", start, start + count, batch.packed.count)
                continue
            finished_before = batch.finished.size
            fresh = batch.finished.add(start, start + count)
            if fresh:
                self._deliver(batch, range(start, start + count), fresh, (status, run, profile))
                self._unfinished_tasks -= batch.finished.size - finished_before
            else:
                self._delete_stored(status, run)
        if batch is not None and is_early:
            self._take_back(batch)
        elif batch is not None and not batch.unfinished:
            self._drop_sent(batch)
        self._send_waiting()

    # ---- the end of waiting

    def expire(self, heard_at: float, now: float, make: Failure) -> None:
        """Fail the tasks of batches that are older than the timeout, if nothing was heard for as long."""
        batches = (*self._sent.values(), *self._waiting.values())
        self.fail([batch.batch_id for batch in batches if self._due(batch, heard_at) <= now], make)

    def fail_all(self, make: Failure) -> None:
        """Fail all tasks, which the scheduler is told to drop."""
        self.fail([*self._sent, *self._waiting], make)

    def fail(self, batch_ids: Iterable[int], make: Failure) -> None:
        """Fail the tasks of some batches, which the scheduler is told to drop, and whatever waits for them."""
        found = (self._sent.get(batch_id) or self._waiting.get(batch_id) for batch_id in batch_ids)
        batches = [batch for batch in found if batch is not None]
        self.abandon([batch.batch_id for batch in batches])
        for batch in batches:
            self._fail(batch, make)
        if any(batch.sources for batch in batches):
            self._end_all_lost()
            self._send_waiting()

    def next_expiry(self, heard_at: float) -> float | None:
        """Return when `expire` is wanted, None while no task is unfinished."""
        oldest = [next(iter(batches.values())) for batches in (self._sent, self._waiting) if batches]
        return min((self._due(batch, heard_at) for batch in oldest), default=None)

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
            "unfinished bytes": (self._unfinished_bytes, sum(batch.packed.inline_bytes for batch in sent)),
            "waiting bytes": (self.waiting_bytes, sum(b.packed.inline_bytes for b in self._waiting.values())),
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
            before = batch.packed.inline_bytes
            message = batch.message()
            size = batch.packed.inline_bytes
            self.waiting_bytes += size - before
            if size > before and not self._has_credit(batch):
                return  # it takes more than before: results go along that it was to wait for
            del self._waiting[batch.batch_id]
            self.waiting_bytes -= size
            self._sent[batch.batch_id] = batch
            self._unfinished_tasks += batch.unfinished
            self._unfinished_bytes += size
            self._send(batch, message)

    def _take_back(self, batch: Batch) -> None:
        """The scheduler does not have a batch whose calls wait for results: it waits again, and is packed anew."""
        self._drop_sent(batch)
        self._waiting[batch.batch_id] = batch
        self._waiting = dict(sorted(self._waiting.items()))  # each after those that it waits for
        self.waiting_bytes += batch.packed.inline_bytes
        for index in sorted(batch.cancelling):
            self._deliver_cancelled(batch, index, index + 1)
        self._end_lost(batch)

    def _has_credit(self, batch: Batch) -> bool:
        """Whether the batch may go; one always may."""
        if not self._sent:
            return True
        if not self._defined.has_room(batch.function):
            return False
        tasks = self._unfinished_tasks + batch.unfinished
        size = self._unfinished_bytes + batch.packed.inline_bytes
        return (not self._max_tasks or tasks <= self._max_tasks) and (not self._max_bytes or size <= self._max_bytes)

    def _send(self, batch: Batch, message: m.SubmitBatch) -> None:
        function = batch.function
        if self._defined.use(function):
            self.messages.append(m.DefineFunction(function.function_id, function.name, function.payload))
        self.messages.append(message)
        if batch.cancelling:
            self.messages.append(_cancel(batch.batch_id, [(index, index + 1) for index in sorted(batch.cancelling)]))

    def _drop_waiting(self, batch: Batch) -> None:
        del self._waiting[batch.batch_id]
        self.waiting_bytes -= batch.packed.inline_bytes

    def _drop_sent(self, batch: Batch) -> None:
        del self._sent[batch.batch_id]
        self._unfinished_tasks -= batch.unfinished
        self._unfinished_bytes -= batch.packed.inline_bytes
        forgotten = self._defined.release(batch.function)
        if forgotten:
            self.messages.append(m.ForgetFunctions(forgotten))

    # ---- outcomes

    def _deliver(self, batch: Batch, tasks: range, fresh: list[Span], outcome: _Outcome) -> None:
        """Give the outcome of a run of tasks to those of them that have none yet."""
        status, run, profile = outcome
        if status == Status.CANCELLED:
            for low, high in fresh:
                self._close(batch, low, high, Lost(None))
                batch.receiver.cancelled(low, high)
            return
        if status not in RESULTS:
            failure = read_failure(status, run)
            for low, high in fresh:
                self._close(batch, low, high, Lost(failure))
                batch.receiver.failed(low, high, failure, profile)
            return
        read, handle = self._read(batch, len(tasks), fresh, status, run)
        for low, high in fresh:
            for source in batch.sources_of(low, high):
                data = bytes(run)
                source.outcome = delivered(status, source.index - tasks.start, data, handle, batch.serializer)
            self._close(batch, low, high, None)
            if callable(read):
                batch.receiver.failed(low, high, read, profile)
            else:
                part = read if high - low == len(tasks) else read[low - tasks.start : high - tasks.start]
                batch.receiver.succeeded(low, part, profile)

    def _read(
        self, batch: Batch, count: int, fresh: list[Span], status: int, run: memoryview
    ) -> tuple[list[Any] | Failure, Handle | None]:
        """Return the results of a run, and what keeps one that is stored. What nobody wants is not restored."""
        if batch.wants(fresh):
            read = read_values(status, count, run, batch.serializer, self._store)
            stored = None if callable(read) else read[0]
            return read, stored.handle if isinstance(stored, StoredResult) else None
        nothing = [None] * count
        if status != Status.STORED:
            return nothing, None
        size, key = unpack_stored(run)
        return nothing, self._store.keep(key, size)

    def _close(self, batch: Batch, start: int, stop: int, lost: Lost | None) -> None:
        """Take note that tasks have their outcome; `lost` if without a result."""
        if batch.cancelling:
            batch.cancelling.difference_update(range(start, stop))
        if batch.packed.waits is not None:
            batch.packed.waits.forget(start, stop)
        if lost is not None:
            for source in batch.sources_of(start, stop):
                source.outcome = lost

    def _delete_stored(self, status: int, run: memoryview) -> None:
        """Delete a result that nobody wants any more."""
        if status == Status.STORED:
            self._store.delete([unpack_stored(run)[1]])

    def _deliver_cancelled(self, batch: Batch, start: int, stop: int) -> None:
        for low, high in batch.finished.add(start, stop):
            self._close(batch, low, high, Lost(None))
            batch.receiver.cancelled(low, high)

    def _fail(self, batch: Batch, failure: Failure) -> None:
        for low, high in batch.finished.add(0, batch.packed.count):
            self._close(batch, low, high, Lost(failure))
            batch.receiver.failed(low, high, failure, NO_PROFILE)

    # ---- calls that wait for results

    def _source_of(self, future: ScalerFuture, serializer: Serializer) -> Source:
        """Return what stands for a future's task where a call waits for its result."""
        _, batch_id, index = place_of(future)
        if is_done(future):
            return Source(batch_id, index, outcome_of(future, serializer))
        batch = self._sent.get(batch_id) or self._waiting.get(batch_id)
        if batch is None:
            return Source(batch_id, index, Lost(lambda: MissingObjects("the task of this future is unknown")))
        return batch.source(index)

    def _end_all_lost(self) -> None:
        """End whatever waits for what has ended without a result, where the scheduler does not."""
        for batch in [*self._sent.values(), *self._waiting.values()]:
            if batch.packed.waits is None:
                continue
            self._end_lost(batch)
            if not batch.unfinished and batch.batch_id in self._sent:
                self._drop_sent(batch)

    def _end_lost(self, batch: Batch) -> None:
        """End the calls of a batch that will not get what they need; one that waits and has none left is dropped."""
        waits, is_sent = batch.packed.waits, batch.batch_id in self._sent
        for index, lost in waits.lost() if waits is not None else ():
            batch.finished.add(index, index + 1)
            self._unfinished_tasks -= is_sent
            self._close(batch, index, index + 1, lost)
            if lost.failure is None:
                batch.receiver.cancelled(index, index + 1)
            else:
                batch.receiver.failed(index, index + 1, lost.failure, NO_PROFILE)
        if not is_sent and not batch.unfinished:
            self._drop_waiting(batch)

    def _due(self, batch: Batch, heard_at: float) -> float:
        return max(batch.submitted_at, heard_at) + self._timeout_seconds


def _profiles(results: m.TaskResults, counts: Sequence[int]) -> Iterator[ProfileResult]:
    """Return what each task of every run took: equal parts."""
    columns = (
        numbers(F64, results.durations),
        numbers(U64, results.memory) if results.memory else repeat(0),
        numbers(F64, results.cpu) if results.cpu else repeat(0.0),
    )
    runs = map(ProfileResult, *columns)
    if max(counts) == 1:
        return runs
    return (ProfileResult(took / count, memory, cpu / count) for count, (took, memory, cpu) in zip(counts, runs))  # noqa: B905 - both may be endless


def _cancel(batch_id: int, spans: list[Span]) -> m.CancelTasks:
    starts = column(U32, [start for start, _ in spans])
    return m.CancelTasks(batch_id, starts, column(U32, [stop - start for start, stop in spans]))
