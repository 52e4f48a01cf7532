"""Batches become slices on workers: assigning, answering, taking back, running again.

Decides how many tasks a slice has by time, never by the number the client packed together.
"""

from scaler_protocol.batch import F64, U8, U32, U64, Status, column, covering, numbers, offsets
from scaler_protocol.errors import ProtocolError
from scaler_protocol.messages import (
    ANY_TASK,
    AssignSlice,
    DefineFunction,
    EndTask,
    ForgetFunctions,
    RecallSlices,
    SlicesReturned,
    SubmitBatch,
    TaskResults,
)
from scaler_scheduler.core.balance import Balance
from scaler_scheduler.core.hungry import room
from scaler_scheduler.core.lanes import Lane, Lanes
from scaler_scheduler.core.state import Batch, Client, Function, Outbox, Slice, State, Worker
from scaler_scheduler.policies.allocate import AllocationPolicy

UNKNOWN_TASK_SECONDS = 0.05
"""What a task of unknown duration counts as in a worker's load."""


class Dispatch:
    """The movement of tasks. Reads and changes the state's tables of work."""

    def __init__(self, state: State, out: Outbox, allocate: AllocationPolicy) -> None:
        self._state = state
        self._out = out
        self.lanes = Lanes(allocate)
        self._balance = Balance()

    # ---- batches

    def submit(self, client: Client, submitted: SubmitBatch, function: Function, accepted: int) -> None:
        """Take in a new batch, of which tasks below `accepted` may run; the caller answers for the rest."""
        ready = [(start, min(stop, accepted)) for start, stop in _unfinished(submitted) if start < accepted]
        if not ready:
            return
        self._state.batch_count += 1
        batch = Batch(
            client=client,
            submitted=submitted,
            function=function,
            lane=self.lanes.enter(submitted.capabilities),
            order=self._state.batch_count,
            starts=offsets(numbers(U32, submitted.block_counts)),
            offsets=offsets(numbers(U32, submitted.block_sizes)),
            unfinished=sum(stop - start for start, stop in ready),
        )
        function.batches += 1
        client.batches[submitted.batch_id] = batch
        self._count_unfinished(batch, batch.unfinished)
        for start, stop in ready:
            batch.lane.ready.add(batch, start, stop)

    def abandon(self, batch: Batch, *, force: bool) -> None:
        """Drop a batch: what is ready at once, what is queued on workers by recall.

        What runs ends unheard; with `force` its process is ended.
        """
        batch.lane.ready.remove(batch, 0, batch.submitted.count)
        batch.abandoned = True
        self._count_unfinished(batch, -batch.unfinished)
        self._close_batch(batch)
        for worker in list(self._state.workers.values()):
            pieces = [piece for piece in worker.slices.values() if piece.batch is batch]
            self._recall(worker, [(piece, piece.next) for piece in pieces if not piece.recalling])
            if force:
                for piece in pieces:
                    self._end_task(worker, piece, ANY_TASK)

    def cancel(self, batch: Batch, start: int, stop: int) -> None:
        """End tasks [start, stop) without a result where that is still possible; each is answered once it ended."""
        for low, high in batch.lane.ready.remove(batch, start, stop):
            self.answer(batch.client, batch.submitted.batch_id, range(low, high), Status.CANCELLED, "")
            self._finish(batch, high - low)
        for worker in list(self._state.workers.values()):
            for piece in list(worker.slices.values()):
                if piece.batch is batch and piece.next < stop and piece.stop > start:
                    batch.cancelling.update(range(max(start, piece.next), min(stop, piece.stop)))
                    self._pursue_cancel(worker, piece, asked=None)

    # ---- assigning

    def assign(self) -> None:
        """Give ready tasks to hungry workers until one of both runs out."""
        passed_over: list[tuple[Lane, Worker]] = []
        while (found := self.lanes.next()) is not None:
            lane, batch, worker = found
            known = self._state.durations.of(batch.function.function_id)
            count = min(room(worker, known), lane.fair_part())
            if count < 1:
                lane.hungry.set_aside()
                passed_over.append((lane, worker))
                continue
            self._assign(batch, worker, count, UNKNOWN_TASK_SECONDS if known is None else known)
        for lane, worker in passed_over:
            lane.hungry.update(worker)

    def _assign(self, batch: Batch, worker: Worker, count: int, task_seconds: float) -> None:
        submitted = batch.submitted
        start, end = batch.ready.first()
        stop = min(end, start + count)
        low, high = covering(batch.starts, start, stop)
        if batch.starts[high] > stop and batch.starts[high - 1] > start and stop < end:
            high -= 1
            stop = batch.starts[high]  # end where a block ends, so that no block is sent and read twice
        self._define(worker, batch.function)
        self._state.slice_count += 1
        piece = Slice(self._state.slice_count, batch, start, stop, task_seconds)
        batch.lane.ready.take(batch, stop - start, (stop - start) * task_seconds)
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

    def _define(self, worker: Worker, function: Function) -> None:
        if function.function_id not in worker.functions:
            worker.functions.add(function.function_id)
            self._out.send(worker.peer, DefineFunction(function.function_id, function.name, function.payload))

    # ---- answers

    def on_results(self, worker: Worker, results: TaskResults, now: float) -> None:
        """Pass results on to their client. Results of a slice that was given up are late: dropped."""
        piece = worker.slices.get(results.slice_id)
        if piece is None:
            return
        starts, counts = numbers(U32, results.starts), numbers(U32, results.counts)
        first, done = piece.next, sum(counts)
        if starts[0] != first or starts[-1] + counts[-1] != first + done or first + done > piece.stop:
            raise ProtocolError(f"results for [{starts[0]}, {starts[-1] + counts[-1]}) of [{first}, {piece.stop})")
        batch = piece.batch
        piece.next += done
        worker.progressed_at = now
        self._state.durations.add(batch.function.function_id, sum(numbers(F64, results.durations)), done)
        if piece.next == piece.stop:
            self._close_slice(worker, piece)
        self._change_load(worker, -done, piece.task_seconds)
        if batch.abandoned:
            return
        if batch.cancelling:
            batch.cancelling.difference_update(range(first, first + done))
        results.slice_id = 0
        results.client_id = b""
        self._out.send(batch.client.peer, results)
        self._finish(batch, done)

    def answer(self, client: Client, batch_id: int, tasks: range, status: Status, text: str) -> None:
        """Answer tasks in the scheduler's own name."""
        payload = text.encode()
        self._out.send(
            client.peer,
            TaskResults(
                slice_id=0,
                client_id=b"",
                batch_id=batch_id,
                starts=column(U32, [tasks.start]),
                counts=column(U32, [len(tasks)]),
                statuses=column(U8, [status]),
                sizes=column(U32, [len(payload)]),
                durations=column(F64, [0.0]),
                payload=payload,
            ),
        )

    def fail(self, batch: Batch, task: int, status: Status, text: str) -> None:
        """End one task, which is in no slice and not ready, without a result."""
        if not batch.abandoned:
            batch.cancelling.discard(task)
            self.answer(batch.client, batch.submitted.batch_id, range(task, task + 1), status, text)
            self._finish(batch, 1)

    def requeue(self, batch: Batch, start: int, stop: int) -> None:
        """Make tasks that were in a slice ready again, but for those that are being cancelled."""
        if batch.abandoned:
            return
        for task in sorted(task for task in batch.cancelling if start <= task < stop):
            batch.lane.ready.add(batch, start, task)
            self.fail(batch, task, Status.CANCELLED, "")
            start = task + 1
        batch.lane.ready.add(batch, start, stop)

    def on_returned(self, worker: Worker, returned: SlicesReturned) -> None:
        """Take back what a worker has not begun."""
        for slice_id, limit in zip(numbers(U64, returned.slice_ids), numbers(U32, returned.limits), strict=True):
            piece = worker.slices.get(slice_id)
            if piece is None or not piece.recalling:
                continue
            piece.recalling = False
            self._balance.recalls -= 1
            if limit < piece.next:
                raise ProtocolError(f"a slice answered up to {piece.next} is returned from {limit}")
            if limit < piece.stop:
                start, stop = limit, piece.stop
                piece.stop = limit
                if piece.next == piece.stop:
                    self._close_slice(worker, piece)
                self._change_load(worker, start - stop, piece.task_seconds)
                self.requeue(piece.batch, start, stop)
            self._pursue_cancel(worker, piece, asked=piece.limit)
        self._balance.note(worker)

    def _pursue_cancel(self, worker: Worker, piece: Slice, asked: int | None) -> None:
        """Go on with ending the tasks of a slice that are being cancelled.

        `asked`: the limit of the recall just answered, if any. A worker that keeps more than that has begun it.
        """
        doomed = [task for task in piece.batch.cancelling if piece.next <= task < piece.stop]
        if not doomed or piece.recalling:
            return
        if asked is not None and piece.stop > asked:
            if piece.stop - 1 in doomed:
                self._end_task(worker, piece, piece.stop - 1)
            return
        self._recall(worker, [(piece, min(doomed))])

    def _end_task(self, worker: Worker, piece: Slice, task: int) -> None:
        self._out.send(worker.host, EndTask(worker.worker_id, worker.incarnation, piece.slice_id, task))

    def _finish(self, batch: Batch, tasks: int) -> None:
        batch.unfinished -= tasks
        self._count_unfinished(batch, -tasks)
        if batch.unfinished == 0:
            self._close_batch(batch)

    def _count_unfinished(self, batch: Batch, tasks: int) -> None:
        self._state.unfinished_tasks += tasks
        batch.function.unfinished += tasks
        batch.lane.unfinished += tasks

    def _close_batch(self, batch: Batch) -> None:
        del batch.client.batches[batch.submitted.batch_id]
        self.lanes.leave(batch)
        batch.function.batches -= 1
        self.release(batch.function)

    def release(self, function: Function) -> None:
        """Forget a function that neither a client nor a batch can use any more."""
        if function.clients or function.batches or self._state.functions.pop(function.function_id, None) is None:
            return
        self._state.durations.forget(function.function_id)
        for worker in self._state.workers.values():
            if function.function_id in worker.functions:
                worker.functions.discard(function.function_id)
                self._out.send(worker.peer, ForgetFunctions([function.function_id]))

    def _close_slice(self, worker: Worker, piece: Slice) -> None:
        del worker.slices[piece.slice_id]
        if piece.recalling:
            piece.recalling = False
            self._balance.recalls -= 1

    # ---- workers come, change and go

    def update(self, worker: Worker) -> None:
        """Take note of a worker that has come or whose state has changed."""
        self.lanes.update(worker)
        self._balance.note(worker)

    def give_up(self, worker: Worker) -> list[Slice]:
        """Take everything a worker holds, which the caller makes ready again or fails; the worker stays."""
        held = list(worker.slices.values())
        self._balance.recalls -= sum(piece.recalling for piece in held)
        worker.slices.clear()
        worker.outstanding = 0
        worker.load_seconds = 0.0
        self.update(worker)
        return held

    def remove(self, worker: Worker) -> None:
        """Forget a worker, which holds nothing any more."""
        self.lanes.remove(worker)
        self._balance.remove(worker)

    def drain(self, worker: Worker) -> None:
        """Give the worker nothing more and take back everything it has not begun."""
        worker.draining = True
        self.update(worker)
        self._recall(worker, [(piece, piece.next) for piece in worker.slices.values() if not piece.recalling])

    def balance(self, now: float) -> None:
        """Recall queued tasks from busy workers while others have nothing to do."""
        for donor in self._balance.donors(now, self.lanes):
            wanted = max(1, (donor.outstanding - 1) // 2)
            limits: list[tuple[Slice, int]] = []
            first = next(iter(donor.slices.values()))
            for piece in reversed(donor.slices.values()):
                begun = piece.next + 1 if piece is first else piece.next
                count = min(wanted, piece.stop - begun)
                if count > 0:
                    limits.append((piece, piece.stop - count))
                    wanted -= count
            self._recall(donor, limits)

    @property
    def wants_balance(self) -> bool:
        """Whether somebody is idle while somebody has queued tasks that may become worth a recall with time."""
        return self._balance.is_wanted(self.lanes)

    def _recall(self, worker: Worker, limits: list[tuple[Slice, int]]) -> None:
        if not limits:
            return
        for piece, limit in limits:
            piece.recalling = True
            piece.limit = limit
        self._balance.recalls += len(limits)
        slice_ids = column(U64, [piece.slice_id for piece, _ in limits])
        self._out.send(worker.peer, RecallSlices(slice_ids, column(U32, [limit for _, limit in limits])))
        self._balance.note(worker)

    def _change_load(self, worker: Worker, tasks: int, task_seconds: float) -> None:
        worker.outstanding += tasks
        worker.load_seconds = max(0.0, worker.load_seconds + tasks * task_seconds) if worker.outstanding else 0.0
        self.update(worker)


def _unfinished(submitted: SubmitBatch) -> list[tuple[int, int]]:
    """Return the intervals of tasks that the client does not say are finished."""
    edges = [0, *numbers(U32, submitted.finished), submitted.count]
    return [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop]
