"""Batches become slices on workers: assigning, answering, taking back, running again.

Decides how many tasks a slice has by time, never by the number the client packed together.
"""

from itertools import islice

from scaler_protocol.batch import U8, U32, U64, F64, Status, column, covering, numbers, offsets
from scaler_protocol.errors import ProtocolError
from scaler_protocol.messages import (
    AssignSlice,
    DefineFunction,
    RecallSlices,
    SlicesReturned,
    SubmitBatch,
    TaskResults,
)

from scaler_scheduler.core.hungry import HungryWorkers, room
from scaler_scheduler.core.intervals import Intervals
from scaler_scheduler.core.ready import ReadyQueue
from scaler_scheduler.core.state import Batch, Client, Outbox, Slice, State, Worker

UNKNOWN_TASK_SECONDS = 0.05
"""What a task of unknown duration counts as in a worker's load."""

RECALL_WORTH_SECONDS = 0.001
"""Less queued work than this is not worth a recall, unless its worker is stuck."""

STUCK_SECONDS = 0.02
"""A worker that has answered nothing for so long may be busy with a long task, whatever the estimates say."""

_DONORS_LOOKED_AT = 32


class Dispatch:
    """The movement of tasks. The scheduler calls it; it reads and changes the state's tables of work."""

    def __init__(self, state: State, out: Outbox) -> None:
        self._state = state
        self._out = out
        self.ready = ReadyQueue(state)
        self.hungry = HungryWorkers()
        self._donors: dict[Worker, None] = {}  # have queued tasks, oldest change first
        self._idle: dict[Worker, None] = {}
        self._recalls = 0

    # ---- batches

    def submit(self, client: Client, submitted: SubmitBatch, accepted: int) -> None:
        """Take in a new batch, of which the first `accepted` tasks may run; the caller answers for the rest."""
        self._state.batch_count += 1
        starts = offsets(numbers(U32, submitted.block_counts))
        batch = Batch(
            client=client,
            submitted=submitted,
            order=self._state.batch_count,
            starts=starts,
            offsets=offsets(numbers(U32, submitted.block_sizes)),
            ready=Intervals(),
            unfinished=accepted,
        )
        if accepted:
            client.batches[submitted.batch_id] = batch
            self._state.unfinished_tasks += accepted
            self.ready.add(batch, 0, accepted)

    def abandon(self, batch: Batch) -> None:
        """Drop a batch: what is ready at once, what is queued on workers by recall; what runs ends unheard."""
        batch.client.batches.pop(batch.submitted.batch_id, None)
        self.ready.drop(batch)
        self._state.unfinished_tasks -= batch.unfinished
        batch.abandoned = True
        for worker in list(self._state.workers.values()):
            pieces = [piece for piece in worker.slices.values() if piece.batch is batch and not piece.recalling]
            if pieces:
                self._recall(worker, [(piece, piece.next) for piece in pieces])

    # ---- assigning

    def assign(self) -> None:
        """Give ready tasks to hungry workers until one of both runs out."""
        passed_over: list[Worker] = []
        while (batch := self.ready.first()) is not None and (worker := self.hungry.first()) is not None:
            known = self._state.durations.of(batch.submitted.function_id)
            count = min(room(worker, known), self._fair_part())
            if count < 1:
                self.hungry.set_aside(worker)
                passed_over.append(worker)
                continue
            self._assign(batch, worker, count, UNKNOWN_TASK_SECONDS if known is None else known)
        for worker in passed_over:
            self.hungry.update(worker)

    def _fair_part(self) -> int:
        return max(1, self._state.ready_tasks // (2 * max(1, len(self._state.workers))))

    def _assign(self, batch: Batch, worker: Worker, count: int, task_seconds: float) -> None:
        submitted = batch.submitted
        start, end = batch.ready.first()
        stop = min(end, start + count)
        low, high = covering(batch.starts, start, stop)
        if batch.starts[high] > stop and batch.starts[high - 1] > start and stop < end:
            high -= 1
            stop = batch.starts[high]  # end where a block ends, so that no block is sent and read twice
        self._define(worker, submitted.function_id)
        self._state.slice_count += 1
        piece = Slice(self._state.slice_count, batch, start, stop, task_seconds)
        self.ready.take(batch, stop - start, (stop - start) * task_seconds)
        worker.slices[piece.slice_id] = piece
        self._change_load(worker, stop - start, task_seconds)
        self._out.send(
            worker.peer,
            AssignSlice(
                slice_id=piece.slice_id,
                client_id=batch.client.peer,
                batch_id=submitted.batch_id,
                function_id=submitted.function_id,
                start=start,
                stop=stop,
                first=batch.starts[low],
                priority=submitted.priority,
                encoding=submitted.encoding,
                timed=submitted.timed,
                block_counts=submitted.block_counts[4 * low : 4 * high],
                block_sizes=submitted.block_sizes[4 * low : 4 * high],
                payload=submitted.payload[batch.offsets[low] : batch.offsets[high]],
            ),
        )

    def _define(self, worker: Worker, function_id: bytes) -> None:
        if function_id not in worker.functions:
            function = self._state.functions[function_id]
            worker.functions.add(function_id)
            self._out.send(worker.peer, DefineFunction(function_id, function.name, function.payload))

    # ---- answers

    def on_results(self, worker: Worker, results: TaskResults, now: float) -> None:
        """Pass results on to their client. Results of a slice that was given up are late: dropped."""
        piece = worker.slices.get(results.slice_id)
        if piece is None:
            return
        starts, counts = numbers(U32, results.starts), numbers(U32, results.counts)
        done = sum(counts)
        if starts[0] != piece.next or starts[-1] + counts[-1] != piece.next + done or piece.next + done > piece.stop:
            raise ProtocolError(f"results for [{starts[0]}, {starts[-1] + counts[-1]}) of [{piece.next}, {piece.stop})")
        batch = piece.batch
        piece.next += done
        worker.progressed_at = now
        self._state.durations.add(batch.submitted.function_id, sum(numbers(F64, results.durations)), done)
        self._change_load(worker, -done, piece.task_seconds)
        if piece.next == piece.stop:
            self._close(worker, piece)
        if batch.abandoned:
            return
        results.slice_id = 0
        results.client_id = b""
        self._out.send(batch.client.peer, results)
        self._finish(batch, done)

    def answer(self, client: Client, batch_id: int, start: int, count: int, status: Status, text: str) -> None:
        """Answer tasks in the scheduler's own name."""
        payload = text.encode()
        self._out.send(
            client.peer,
            TaskResults(
                slice_id=0,
                client_id=b"",
                batch_id=batch_id,
                starts=column(U32, [start]),
                counts=column(U32, [count]),
                statuses=column(U8, [status]),
                sizes=column(U32, [len(payload)]),
                durations=column(F64, [0.0]),
                payload=payload,
            ),
        )

    def fail(self, batch: Batch, task: int, status: Status, text: str) -> None:
        """End one task, which is in no slice and not ready, without a result."""
        if not batch.abandoned:
            self.answer(batch.client, batch.submitted.batch_id, task, 1, status, text)
            self._finish(batch, 1)

    def requeue(self, batch: Batch, start: int, stop: int) -> None:
        """Make tasks that were in a slice ready again."""
        if not batch.abandoned:
            self.ready.add(batch, start, stop)

    def on_returned(self, worker: Worker, returned: SlicesReturned) -> None:
        """Take back what a worker has not begun."""
        for slice_id, limit in zip(numbers(U64, returned.slice_ids), numbers(U32, returned.limits), strict=True):
            piece = worker.slices.get(slice_id)
            if piece is None or not piece.recalling:
                continue
            piece.recalling = False
            self._recalls -= 1
            if limit < piece.next:
                raise ProtocolError(f"a slice answered up to {piece.next} is returned from {limit}")
            if limit < piece.stop:
                start, stop = limit, piece.stop
                piece.stop = limit
                self._change_load(worker, start - stop, piece.task_seconds)
                self.requeue(piece.batch, start, stop)
            if piece.next == piece.stop:
                self._close(worker, piece)
        self._note(worker)

    def _finish(self, batch: Batch, tasks: int) -> None:
        batch.unfinished -= tasks
        self._state.unfinished_tasks -= tasks
        if batch.unfinished == 0:
            del batch.client.batches[batch.submitted.batch_id]

    def _close(self, worker: Worker, piece: Slice) -> None:
        del worker.slices[piece.slice_id]
        if piece.recalling:
            self._recalls -= 1

    # ---- workers come, change and go

    def update(self, worker: Worker) -> None:
        """Take note of a worker that has come or whose state has changed."""
        self.hungry.update(worker)
        self._note(worker)

    def give_up(self, worker: Worker) -> list[Slice]:
        """Forget a worker and return what it held, which the caller makes ready again or fails."""
        held = list(worker.slices.values())
        self._recalls -= sum(piece.recalling for piece in held)
        worker.slices.clear()
        worker.outstanding = 0
        worker.load_seconds = 0.0
        worker.draining = True
        self.hungry.update(worker)
        self._donors.pop(worker, None)
        self._idle.pop(worker, None)
        return held

    def drain(self, worker: Worker) -> None:
        """Give the worker nothing more and take back everything it has not begun."""
        worker.draining = True
        self.update(worker)
        pieces = [piece for piece in worker.slices.values() if not piece.recalling]
        if pieces:
            self._recall(worker, [(piece, piece.next) for piece in pieces])

    # ---- balancing

    def balance(self, now: float) -> None:
        """Recall queued tasks from busy workers while others have nothing and nothing is ready."""
        if self._state.ready_tasks or len(self._idle) <= self._recalls:
            return
        donors = sorted(islice(self._donors, _DONORS_LOOKED_AT), key=_load, reverse=True)
        for donor in donors[: len(self._idle) - self._recalls]:
            if _is_worth_a_recall(donor, now):
                self._recall_half(donor)

    @property
    def wants_balance(self) -> bool:
        """Whether somebody is idle while somebody has queued tasks that may become worth a recall with time."""
        return bool(self._idle) and bool(self._donors) and not self._state.ready_tasks

    def _recall_half(self, donor: Worker) -> None:
        wanted = max(1, (donor.outstanding - 1) // 2)
        limits: list[tuple[Slice, int]] = []
        first = next(iter(donor.slices.values()))
        for piece in reversed(donor.slices.values()):
            begun = piece.next + 1 if piece is first else piece.next
            count = min(wanted, piece.stop - begun)
            if count > 0 and not piece.recalling:
                limits.append((piece, piece.stop - count))
                wanted -= count
            if wanted == 0:
                break
        if limits:
            self._recall(donor, limits)

    def _recall(self, worker: Worker, limits: list[tuple[Slice, int]]) -> None:
        for piece, _ in limits:
            piece.recalling = True
        self._recalls += len(limits)
        slice_ids = column(U64, [piece.slice_id for piece, _ in limits])
        self._out.send(worker.peer, RecallSlices(slice_ids, column(U32, [limit for _, limit in limits])))
        self._note(worker)

    def _change_load(self, worker: Worker, tasks: int, task_seconds: float) -> None:
        worker.outstanding += tasks
        worker.load_seconds = max(0.0, worker.load_seconds + tasks * task_seconds) if worker.outstanding else 0.0
        self.update(worker)

    def _note(self, worker: Worker) -> None:
        """Keep the lists of idle workers and of donors true."""
        if worker.outstanding == 0 and not worker.draining and not worker.stopped:
            self._idle[worker] = None
        else:
            self._idle.pop(worker, None)
        if worker.outstanding > 1 and not worker.draining and not any(p.recalling for p in worker.slices.values()):
            self._donors[worker] = None
        else:
            self._donors.pop(worker, None)


def _load(worker: Worker) -> float:
    return worker.load_seconds


def _is_worth_a_recall(worker: Worker, now: float) -> bool:
    queued_seconds = worker.load_seconds * (worker.outstanding - 1) / worker.outstanding
    return queued_seconds >= RECALL_WORTH_SECONDS or now - worker.progressed_at >= STUCK_SECONDS
