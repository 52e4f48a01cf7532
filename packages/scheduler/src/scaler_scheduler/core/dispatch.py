"""Batches become slices on workers: assigning, answering, taking back, running again.

Decides how many tasks a slice has by time, never by the number the client packed together.
"""

from itertools import accumulate

from scaler_protocol.batch import F64, U32, U64, Status, covering, numbers, offsets
from scaler_protocol.errors import ProtocolError
from scaler_protocol.messages import (
    ANY_TASK,
    AssignSlice,
    DefineFunction,
    EndTask,
    SlicesReturned,
    SubmitBatch,
    TaskResults,
)
from scaler_scheduler.core import dependencies
from scaler_scheduler.core.balance import Balance
from scaler_scheduler.core.holdings import Holdings
from scaler_scheduler.core.hungry import room
from scaler_scheduler.core.lanes import Lanes
from scaler_scheduler.core.links import Links
from scaler_scheduler.core.outcomes import Outcomes
from scaler_scheduler.core.state import Batch, Client, Function, Outbox, Slice, State, Worker
from scaler_scheduler.policies.allocate import AllocationPolicy

_RESERVED = 1 << 32
"""So many numbers of slices are kept for those to come."""

UNKNOWN_TASK_SECONDS = 0.05
"""What a task of unknown duration counts as in a worker's load."""


class Dispatch:
    """The movement of tasks. Reads and changes the state's tables of work."""

    def __init__(self, state: State, out: Outbox, allocate: AllocationPolicy, balance: Balance) -> None:
        self._state = state
        self._counts = state.counts
        self._out = out
        self._balance = balance
        self.lanes = Lanes(allocate)
        self.outcomes = Outcomes(state, out, self.lanes)
        self.holdings = Holdings(state, out, self.lanes, balance)

    # ---- batches

    def submit(
        self, client: Client, submitted: SubmitBatch, function: Function, accepted: int, links: Links | None = None
    ) -> None:
        """Take in a new batch, of which tasks below `accepted` may run; the caller answers for the rest."""
        ready = unfinished(submitted, accepted)
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
            links=links,
        )
        for start, stop in ready:
            batch.unfinished += stop - start
        function.batches += 1
        client.batches[submitted.batch_id] = batch
        client.held_tasks += submitted.count
        client.held_bytes += len(submitted.payload)
        self._state.note_home(client)
        self._counts.inactive += batch.unfinished
        if links is not None:
            dependencies.attach(batch)
            ready = links.complete(ready)
        for start, stop in ready:
            self.outcomes.make_ready(batch, start, stop)
        if links is not None:
            self.outcomes.end_failed(batch, links)

    def refuse(self, batch: Batch, after: int, text: str) -> None:
        """Answer for all but the first `after` ready tasks of a new batch: they shall not run after all."""
        kept = after
        for start, stop in list(batch.ready):
            low = min(stop, start + kept)
            kept -= low - start
            for span in batch.lane.ready.remove(batch, low, stop):
                self._counts.inactive -= span[1] - span[0]
                self.outcomes.end_ready(batch, *span, Status.REFUSED, text)

    def abandon(self, batch: Batch, *, force: bool) -> None:
        """Drop a batch: what is ready at once, what is queued on workers by recall.

        What runs ends unheard; with `force` its process is ended.
        """
        batch.lane.ready.remove(batch, 0, batch.submitted.count)
        batch.abandoned = True
        self._counts.canceled += batch.unfinished
        self.outcomes.count_unfinished(batch, batch.waiting - batch.unfinished)
        for task in list(batch.links.missing) if batch.links is not None else ():
            dependencies.drop(batch, task)
        batch.links = None
        self.outcomes.end_dependents(batch, list(batch.awaited), Status.CANCELLED, b"")
        self.outcomes.close_batch(batch)
        batch.forced = force
        held = [piece for piece in batch.slices.values() if piece.is_held]
        for worker in {piece.worker: None for piece in held}:
            mine = [piece for piece in held if piece.worker is worker and not piece.recalling]
            self.holdings.recall(worker, [(piece, piece.next) for piece in mine])
        for piece in held if force else ():
            self._end_task(piece, ANY_TASK)

    def cancel(self, batch: Batch, start: int, stop: int) -> None:
        """End tasks [start, stop) without a result where that is still possible; each is answered once it ended."""
        unknown = stop - start
        if batch.links is not None:
            waiting = batch.links.waiting(start, stop)
            unknown -= len(waiting)
            self.outcomes.end_waiting(batch, waiting, Status.CANCELLED, b"")
        for low, high in batch.lane.ready.remove(batch, start, stop):
            unknown -= high - low
            self.outcomes.end_ready(batch, low, high, Status.CANCELLED, "")
        for piece in list(batch.slices.values()):
            if piece.next < stop and piece.stop > start:
                held = range(max(start, piece.next), min(stop, piece.stop))
                unknown -= len(held)
                self._counts.canceling += len(held) - len(batch.cancelling.intersection(held))
                batch.cancelling.update(held)
                self._pursue(piece, asked=None)
        self._counts.canceled_not_found += unknown

    # ---- assigning

    @property
    def is_concerned(self) -> bool:
        """Whether tasks are ready, or queued behind others."""
        return self.lanes.clock.ready_tasks > 0 or self._balance.is_concerned

    def settle(self, now: float) -> None:
        """Give out what is ready, and take back what is queued while others have nothing to do."""
        self._assign_all()
        if self._balance.is_concerned:
            self.holdings.balance(now)

    def next_wakeup(self) -> float | None:
        """Return when the balance is to be looked at again. What is ready waits for workers, which are events."""
        return self._balance.next_wakeup(self.lanes)

    def _assign_all(self) -> None:
        """Give ready tasks to hungry workers until one of both runs out."""
        while self.lanes.clock.ready_tasks > 0:
            found = self.lanes.next()
            if found is None:
                return
            lane, batch, worker = found
            known = self._state.durations.of(batch.function.function_id)
            most = room(worker, known)
            if batch.function.wary:
                most = 0 if worker.outstanding else 1
            count = min(most, lane.fair_part(worker, known))
            if count < 1:  # it has tasks, so that it answers, and takes part again then
                lane.hungry.set_aside()
                continue
            if batch.function.wary:
                batch.function.wary -= 1
            self._assign(batch, worker, (count, most), UNKNOWN_TASK_SECONDS if known is None else known)

    def _assign(self, batch: Batch, worker: Worker, counts: tuple[int, int], task_seconds: float) -> None:
        """Make a slice of so many ready tasks; of so many altogether, where others follow that each needs the last."""
        submitted = batch.submitted
        start, end = batch.ready.first()
        stop = min(end, start + counts[0])
        inputs = None
        if batch.links is not None:
            if stop == end:
                stop = batch.links.reach(submitted.batch_id, start, stop, start + counts[1])
            inputs = batch.links.inputs(start, stop)
            stop = inputs.stop
        low, high = covering(batch.starts, start, stop)
        if batch.starts[high] > stop and batch.starts[high - 1] > start and stop < end:
            high -= 1
            stop = batch.starts[high]  # end where a block ends, so that no block is sent and read twice
        self._define(worker, batch.function)
        self._state.slice_count += 1
        piece = Slice(self._state.first_slice_id + self._state.slice_count, batch, worker, start, stop, task_seconds)
        batch.lane.ready.take(batch, min(stop, end) - start, (stop - start) * task_seconds)
        if stop > end:
            self.outcomes.take_ahead(batch, end, stop)
        self._counts.running += stop - start
        worker.slices[piece.slice_id] = piece
        batch.slices[piece.slice_id] = piece
        self.holdings.change_load(worker, stop - start, task_seconds)
        assigned = AssignSlice(
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
            stream_output=submitted.stream_output,
        )
        if inputs is not None:
            inputs.put(assigned)
        self._out.send(worker.peer, assigned)

    def adopt(self, batch: Batch, worker: Worker, slice_id: int, tasks: tuple[int, int]) -> Slice | None:
        """Take note that a worker has tasks that are ready, since before they came; the first may be over already.

        Returns its slice; None, and nothing is changed, if they are not all to be run.
        """
        start, stop = tasks
        inside = [(max(low, start), high) for low, high in batch.ready if low < stop and high > start]
        if len(inside) != 1 or slice_id in batch.slices or slice_id in worker.slices:
            return None
        end = inside[0][1]
        if batch.links is not None:
            end = batch.links.reach(batch.submitted.batch_id, inside[0][0], end, stop)
        if end < stop:
            return None
        last = self._state.first_slice_id + self._state.slice_count
        if last < slice_id <= last + _RESERVED:
            return None
        start = inside[0][0]
        known = self._state.durations.of(batch.function.function_id)
        task_seconds = UNKNOWN_TASK_SECONDS if known is None else known
        piece = Slice(slice_id, batch, worker, start, stop, task_seconds)
        batch.lane.ready.remove(batch, start, stop)
        if stop > inside[0][1]:
            self.outcomes.take_ahead(batch, inside[0][1], stop)
        self._counts.running += stop - start
        worker.slices[slice_id] = batch.slices[slice_id] = piece
        worker.begun = piece
        self.holdings.change_load(worker, stop - start, task_seconds)
        return piece

    def disown(self, piece: Slice) -> None:
        """Run the rest of a slice elsewhere; what its worker says of it is dropped."""
        rest = piece.stop - piece.next
        self.holdings.close_slice(piece)
        self.holdings.change_load(piece.worker, -rest, piece.task_seconds)
        self._requeue(piece.batch, piece.next, piece.stop)

    def _define(self, worker: Worker, function: Function) -> None:
        if function not in worker.functions:
            worker.functions[function] = None
            function.workers[worker] = None
            self._out.send(worker.peer, DefineFunction(function.function_id, function.name, function.payload))

    # ---- answers

    def on_results(self, worker: Worker, results: TaskResults, now: float) -> None:
        """Pass results on to their client. Results of a slice that was given up are late: dropped."""
        piece = worker.slices.get(results.slice_id)
        if piece is None:
            self.outcomes.drop(results)
            return
        starts, counts = numbers(U32, results.starts), numbers(U32, results.counts)
        first, done = piece.next, sum(counts)
        in_place = list(accumulate(counts, initial=first))
        if in_place.pop() > piece.stop or in_place != list(starts):
            raise ProtocolError(f"results for runs {in_place[:10]} are out of place in [{first}, {piece.stop})")
        if Status.DEPENDENCY_OVER in results.statuses:
            raise ProtocolError("a worker does not know which results are over")
        batch = piece.batch
        piece.next += done
        worker.progressed_at = now
        self._state.durations.add(batch.function.function_id, sum(numbers(F64, results.durations)), done)
        worker.begun = piece
        if piece.next == piece.stop:
            self.holdings.close_slice(piece)
        self.holdings.change_load(worker, -done, piece.task_seconds)
        if batch.abandoned:
            self.outcomes.drop(results)
            return
        self._counts.add_results(results.statuses, counts, done)
        if batch.cancelling:
            batch.cancelling.difference_update(range(first, first + done))
        results.slice_id = 0
        results.client_id = b""
        self.outcomes.deliver(batch.client, results)
        if batch.awaited:
            self.outcomes.pass_on(batch, results)
        if batch.links is not None:
            dependencies.over(batch, first, first + done)
        self.outcomes.finish(batch, done)

    # ---- losses

    def run_again(self, piece: Slice) -> None:
        """Make the tasks of a slice that no worker holds ready again."""
        del piece.batch.slices[piece.slice_id]
        self._requeue(piece.batch, piece.next, piece.stop)

    def fail_one(self, piece: Slice, task: int, status: Status, text: str) -> None:
        """End one task of a slice that no worker holds; the others are ready again."""
        del piece.batch.slices[piece.slice_id]
        self._requeue(piece.batch, piece.next, task)
        self._requeue(piece.batch, task + 1, piece.stop)
        self.outcomes.fail(piece.batch, task, status, text)

    def on_returned(self, worker: Worker, returned: SlicesReturned) -> None:
        """Take back what a worker has not begun. What is said of slices that were given up is late: dropped."""
        limits = zip(numbers(U64, returned.slice_ids), numbers(U32, returned.limits), strict=True)
        found = [(worker.slices[slice_id], limit) for slice_id, limit in limits if slice_id in worker.slices]
        for piece, limit in found:
            if limit < piece.next:
                raise ProtocolError(f"a slice answered up to {piece.next} is returned from {limit}")
        for piece, limit in found:
            if piece.recalling:
                self._take_back(piece, limit)
        self._balance.note(worker)

    def _take_back(self, piece: Slice, limit: int) -> None:
        worker, stop = piece.worker, piece.stop
        self.holdings.end_recall(piece)
        if limit < stop:
            piece.stop = limit
            if piece.next == limit:
                self.holdings.close_slice(piece)
            self.holdings.change_load(worker, limit - stop, piece.task_seconds)
            self._requeue(piece.batch, limit, stop)
        if piece.next == piece.stop:
            return
        if piece.stop > piece.limit:
            worker.begun = piece
        self._pursue(piece, asked=piece.limit)

    def _requeue(self, batch: Batch, start: int, stop: int) -> None:
        """Make tasks that were in a slice ready again, but for those that are being cancelled."""
        if batch.abandoned:
            return
        doomed = sorted(task for task in batch.cancelling if start <= task < stop)
        self._counts.inactive += stop - start - len(doomed)
        if batch.links is not None:
            self._requeue_linked(batch, batch.links, range(start, stop), doomed)
            return
        for task in doomed:
            batch.lane.ready.add(batch, start, task)
            self.outcomes.fail(batch, task, Status.CANCELLED, "")
            start = task + 1
        batch.lane.ready.add(batch, start, stop)

    def _requeue_linked(self, batch: Batch, links: Links, tasks: range, doomed: list[int]) -> None:
        """Do the same where tasks wait for results: those that were ahead of them wait again, or end as these did."""
        ahead = links.ahead.intersection(tasks)
        self.outcomes.put_back(batch, links, ahead)
        lost = {task: links.failed.pop(task) for task in sorted(ahead) if task in links.failed}
        for low, high in links.complete(dependencies.spans_of(set(tasks).difference(doomed))):
            batch.lane.ready.add(batch, low, high)
        for task in [task for task in doomed if task not in links.missing]:
            self.outcomes.fail(batch, task, Status.CANCELLED, "")
        for task in doomed:
            if task in links.missing:
                self.outcomes.fail(batch, task, Status.CANCELLED, "")
        for task, outcome in lost.items():
            if task in links.missing:
                self.outcomes.end_waiting(batch, [task], outcome.status, outcome.run)

    def _pursue(self, piece: Slice, asked: int | None) -> None:
        """Go on with taking back what of a slice shall not run on its worker, or not at all.

        `asked`: the limit of the recall just answered, if any. A worker that keeps more has begun the last of it.
        """
        if piece.recalling or not piece.is_held:
            return
        batch = piece.batch
        doomed = [task for task in batch.cancelling if piece.next <= task < piece.stop]
        unwanted = batch.abandoned or piece.worker.draining
        if asked is not None and piece.stop > asked:
            if batch.forced:
                self._end_task(piece, ANY_TASK)
            elif piece.stop - 1 in doomed:
                self._end_task(piece, piece.stop - 1)
        elif unwanted or doomed:
            self.holdings.recall(piece.worker, [(piece, piece.next if unwanted else min(doomed))])

    def _end_task(self, piece: Slice, task: int) -> None:
        worker = piece.worker
        self._out.send(worker.host, EndTask(worker.worker_id, worker.incarnation, piece.slice_id, task))


def unfinished(submitted: SubmitBatch, accepted: int) -> list[tuple[int, int]]:
    """Return the intervals of tasks below `accepted` that the client does not say are finished."""
    if not submitted.finished:
        return [(0, accepted)] if accepted else []
    edges = [0, *numbers(U32, submitted.finished), submitted.count]
    spans = zip(edges[::2], edges[1::2], strict=True)
    return [(start, min(stop, accepted)) for start, stop in spans if start < min(stop, accepted)]
