"""Batches become slices on workers: assigning, answering, taking back, running again.

Decides how many tasks a slice has by time, never by the number the client packed together.
"""

from collections.abc import Iterable
from contextlib import suppress
from itertools import accumulate

from scaler_protocol.batch import F64, RESULTS, U8, U32, U64, Status, column, covering, numbers, offsets, unpack_stored
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
from scaler_scheduler.core import dependencies
from scaler_scheduler.core.balance import Balance
from scaler_scheduler.core.hungry import room
from scaler_scheduler.core.lanes import Lanes
from scaler_scheduler.core.links import Links, Outcome, Span
from scaler_scheduler.core.recent import runs_of
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
        self.lanes = Lanes(allocate)
        self._balance = balance

    # ---- batches

    def submit(
        self, client: Client, submitted: SubmitBatch, function: Function, accepted: int, links: Links | None = None
    ) -> None:
        """Take in a new batch, of which tasks below `accepted` may run; the caller answers for the rest."""
        ready = [(start, min(stop, accepted)) for start, stop in unfinished(submitted) if start < accepted]
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
            links=links,
        )
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
            self._make_ready(batch, start, stop)
        if links is not None:
            self._end_failed(batch, links)

    def refuse(self, batch: Batch, after: int, text: str) -> None:
        """Answer for all but the first `after` ready tasks of a new batch: they shall not run after all."""
        kept = after
        for start, stop in list(batch.ready):
            low = min(stop, start + kept)
            kept -= low - start
            for span in batch.lane.ready.remove(batch, low, stop):
                self._counts.inactive -= span[1] - span[0]
                self._end_ready(batch, *span, Status.REFUSED, text)

    def abandon(self, batch: Batch, *, force: bool) -> None:
        """Drop a batch: what is ready at once, what is queued on workers by recall.

        What runs ends unheard; with `force` its process is ended.
        """
        batch.lane.ready.remove(batch, 0, batch.submitted.count)
        batch.abandoned = True
        self._counts.canceled += batch.unfinished
        self._count_unfinished(batch, batch.waiting - batch.unfinished)
        for task in list(batch.links.missing) if batch.links is not None else ():
            dependencies.drop(batch, task)
        batch.links = None
        self._end_dependents(batch, list(batch.awaited), Status.CANCELLED, b"")
        self._close_batch(batch)
        batch.forced = force
        held = [piece for piece in batch.slices.values() if piece.is_held]
        for worker in {piece.worker: None for piece in held}:
            mine = [piece for piece in held if piece.worker is worker and not piece.recalling]
            self._recall(worker, [(piece, piece.next) for piece in mine])
        for piece in held if force else ():
            self._end_task(piece, ANY_TASK)

    def cancel(self, batch: Batch, start: int, stop: int) -> None:
        """End tasks [start, stop) without a result where that is still possible; each is answered once it ended."""
        unknown = stop - start
        if batch.links is not None:
            waiting = batch.links.waiting(start, stop)
            unknown -= len(waiting)
            self._end_waiting(batch, waiting, Status.CANCELLED, b"")
        for low, high in batch.lane.ready.remove(batch, start, stop):
            unknown -= high - low
            self._end_ready(batch, low, high, Status.CANCELLED, "")
        for piece in list(batch.slices.values()):
            if piece.next < stop and piece.stop > start:
                held = range(max(start, piece.next), min(stop, piece.stop))
                unknown -= len(held)
                self._counts.canceling += len(held) - len(batch.cancelling.intersection(held))
                batch.cancelling.update(held)
                self._pursue(piece, asked=None)
        self._counts.canceled_not_found += unknown

    # ---- assigning

    def assign(self) -> None:
        """Give ready tasks to hungry workers until one of both runs out."""
        while (found := self.lanes.next()) is not None:
            lane, batch, worker = found
            known = self._state.durations.of(batch.function.function_id)
            most = room(worker, known)
            count = min(most, lane.fair_part(worker, known))
            if count < 1:  # it has tasks, so that it answers, and takes part again then
                lane.hungry.set_aside()
                continue
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
            self._take_ahead(batch, end, stop)
        self._counts.running += stop - start
        worker.slices[piece.slice_id] = piece
        batch.slices[piece.slice_id] = piece
        self._change_load(worker, stop - start, task_seconds)
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
            self._take_ahead(batch, inside[0][1], stop)
        self._counts.running += stop - start
        worker.slices[slice_id] = batch.slices[slice_id] = piece
        worker.begun = piece
        self._change_load(worker, stop - start, task_seconds)
        return piece

    def disown(self, piece: Slice) -> None:
        """Run the rest of a slice elsewhere; what its worker says of it is dropped."""
        rest = piece.stop - piece.next
        self._close_slice(piece)
        self._change_load(piece.worker, -rest, piece.task_seconds)
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
            self.drop(results)
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
            self._close_slice(piece)
        self._change_load(worker, -done, piece.task_seconds)
        if batch.abandoned:
            self.drop(results)
            return
        self._counts.add_results(results.statuses, counts, done)
        if batch.cancelling:
            batch.cancelling.difference_update(range(first, first + done))
        results.slice_id = 0
        results.client_id = b""
        self._deliver(batch.client, results)
        if batch.awaited:
            self._pass_on(batch, results)
        if batch.links is not None:
            dependencies.over(batch, first, first + done)
        self._finish(batch, done)

    def drop(self, results: TaskResults) -> None:
        """Have removed what nobody will hear of."""
        if Status.STORED not in results.statuses:
            return
        keys: list[bytes] = []
        for run in runs_of(results):
            if run.status == Status.STORED:
                with suppress(ProtocolError):  # it names nothing, and the message is over anyway
                    keys.append(unpack_stored(run.payload)[1])
        self._out.delete_objects(keys)

    def answer(self, client: Client, batch_id: int, tasks: range, status: Status, text: str) -> None:
        """Answer tasks in the scheduler's own name."""
        self._answer(client, batch_id, [(tasks.start, tasks.stop)], status, text.encode())

    def _answer(self, client: Client, batch_id: int, spans: list[Span], status: int, payload: bytes) -> None:
        self._deliver(
            client,
            TaskResults(
                slice_id=0,
                client_id=b"",
                batch_id=batch_id,
                starts=column(U32, [start for start, _ in spans]),
                counts=column(U32, [stop - start for start, stop in spans]),
                statuses=column(U8, [status] * len(spans)),
                sizes=column(U32, [len(payload)] * len(spans)),
                durations=column(F64, [0.0] * len(spans)),
                payload=payload * len(spans),
            ),
        )

    def _deliver(self, client: Client, results: TaskResults) -> None:
        self._out.send(client.peer, results)
        if client.recent is not None:
            client.recent.add(results)

    # ---- tasks that wait for results

    def _make_ready(self, batch: Batch, start: int, stop: int) -> None:
        self._count_unfinished(batch, stop - start)
        batch.lane.ready.add(batch, start, stop)

    def _take_ahead(self, batch: Batch, start: int, stop: int) -> None:
        """Take note that a slice has waiting tasks too, whose results it makes itself."""
        if batch.links is not None:
            batch.links.ahead.update(range(start, stop))
            self._count_unfinished(batch, stop - start)

    def _put_back(self, batch: Batch, links: Links, tasks: Iterable[int]) -> None:
        """Let tasks wait again that were ahead in a slice."""
        ahead = links.ahead.intersection(tasks)
        links.ahead -= ahead
        self._count_unfinished(batch, -len(ahead))

    def _pass_on(self, batch: Batch, results: TaskResults) -> None:
        """Bring outcomes to the tasks that wait for them."""
        for run in runs_of(results):
            tasks = dependencies.awaited_of(batch, run.start, run.stop)
            if not tasks:
                continue
            if run.status not in RESULTS:
                self._end_dependents(batch, tasks, run.status, run.payload)
                continue
            for dependent, task in dependencies.succeeded(batch, tasks, run):
                self._make_ready(dependent, task, task + 1)

    def _end_failed(self, batch: Batch, links: Links) -> None:
        """End the tasks of a new batch that wait for what has failed."""
        failed, links.failed = links.failed, {}
        for task, outcome in failed.items():
            if task in links.missing:
                self._end_waiting(batch, [task], outcome.status, outcome.run)

    def _end_waiting(self, batch: Batch, tasks: list[int], status: int, payload: bytes) -> None:
        """End tasks that wait, without a result, and whatever waits for them."""
        for task in tasks:
            dependencies.drop(batch, task)
        dependents = dependencies.failed(batch, tasks, Outcome(status, 0, payload))
        if tasks:
            self._close_waiting(batch, tasks, status, payload)
        for dependent, doomed in dependents.items():
            self._close_waiting(dependent, doomed, status, payload)

    def _end_dependents(self, batch: Batch, tasks: Iterable[int], status: int, payload: bytes) -> None:
        """End whatever waits for tasks that have ended without a result, as these have."""
        for dependent, doomed in dependencies.failed(batch, tasks, Outcome(status, 0, payload)).items():
            self._close_waiting(dependent, doomed, status, payload)

    def _close_waiting(self, batch: Batch, tasks: list[int], status: int, payload: bytes) -> None:
        self._counts.add_ended(status, len(tasks))
        self._answer(batch.client, batch.submitted.batch_id, dependencies.spans_of(tasks), status, payload)
        batch.unfinished -= len(tasks)
        if batch.unfinished == 0:
            self._close_batch(batch)

    def _end_ready(self, batch: Batch, start: int, stop: int, status: Status, text: str) -> None:
        """End tasks that are in no slice, and not ready any more, without a result."""
        self._counts.add_ended(status, stop - start)
        self.answer(batch.client, batch.submitted.batch_id, range(start, stop), status, text)
        if batch.awaited:
            self._end_dependents(batch, dependencies.awaited_of(batch, start, stop), status, text.encode())
        if batch.links is not None:
            batch.links.forget(start, stop)
        self._finish(batch, stop - start)

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
        self._fail(piece.batch, task, status, text)

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
        self._end_recall(piece)
        if limit < stop:
            piece.stop = limit
            if piece.next == limit:
                self._close_slice(piece)
            self._change_load(worker, limit - stop, piece.task_seconds)
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
            self._fail(batch, task, Status.CANCELLED, "")
            start = task + 1
        batch.lane.ready.add(batch, start, stop)

    def _requeue_linked(self, batch: Batch, links: Links, tasks: range, doomed: list[int]) -> None:
        """Do the same where tasks wait for results: those that were ahead of them wait again, or end as these did."""
        ahead = links.ahead.intersection(tasks)
        self._put_back(batch, links, ahead)
        lost = {task: links.failed.pop(task) for task in sorted(ahead) if task in links.failed}
        for low, high in links.complete(dependencies.spans_of(set(tasks).difference(doomed))):
            batch.lane.ready.add(batch, low, high)
        for task in [task for task in doomed if task not in links.missing]:
            self._fail(batch, task, Status.CANCELLED, "")
        for task in doomed:
            if task in links.missing:
                self._fail(batch, task, Status.CANCELLED, "")
        for task, outcome in lost.items():
            if task in links.missing:
                self._end_waiting(batch, [task], outcome.status, outcome.run)

    def _fail(self, batch: Batch, task: int, status: Status, text: str) -> None:
        """End one task, which is in no slice and not ready, without a result."""
        if batch.abandoned:
            return
        batch.cancelling.discard(task)
        if batch.links is not None and task in batch.links.missing:
            self._put_back(batch, batch.links, (task,))
            self._end_waiting(batch, [task], status, text.encode())
        else:
            self._end_ready(batch, task, task + 1, status, text)

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
            self._recall(piece.worker, [(piece, piece.next if unwanted else min(doomed))])

    def _end_task(self, piece: Slice, task: int) -> None:
        worker = piece.worker
        self._out.send(worker.host, EndTask(worker.worker_id, worker.incarnation, piece.slice_id, task))

    def _finish(self, batch: Batch, tasks: int) -> None:
        batch.unfinished -= tasks
        self._count_unfinished(batch, -tasks)
        if batch.unfinished == 0:
            self._close_batch(batch)

    def _count_unfinished(self, batch: Batch, tasks: int) -> None:
        function = batch.function
        self._state.unfinished_tasks += tasks
        batch.lane.unfinished += tasks
        function.unfinished += tasks
        if function.unfinished:
            self._state.busy[function] = None
        else:
            self._state.busy.pop(function, None)

    def _close_batch(self, batch: Batch) -> None:
        del batch.client.batches[batch.submitted.batch_id]
        batch.client.held_tasks -= batch.submitted.count
        batch.client.held_bytes -= len(batch.submitted.payload)
        self._state.note_home(batch.client)
        self.lanes.leave(batch)
        batch.function.batches -= 1
        self.release(batch.function)

    def release(self, function: Function) -> None:
        """Forget a function that neither a client nor a batch can use any more."""
        if function.clients or function.batches or self._state.functions.pop(function.function_id, None) is None:
            return
        self._state.durations.forget(function.function_id)
        for worker in function.workers:
            del worker.functions[function]
            self._out.send(worker.peer, ForgetFunctions([function.function_id]))
        function.workers.clear()

    def _close_slice(self, piece: Slice) -> None:
        self._end_recall(piece)
        if piece.worker.begun is piece:
            piece.worker.begun = None
        del piece.worker.slices[piece.slice_id]
        del piece.batch.slices[piece.slice_id]

    def _end_recall(self, piece: Slice) -> None:
        if piece.recalling:
            piece.recalling = False
            piece.worker.recalls -= 1
            self._balance.recalls -= 1
            if piece.worker.blocked:
                self._state.restless[piece.worker] = None

    # ---- workers come, change and go

    def update(self, worker: Worker) -> None:
        """Take note of a worker that has come or whose state has changed."""
        if worker.clients or worker.lender or worker.blocked:
            self._state.restless[worker] = None
        self.lanes.update(worker)
        self._balance.note(worker)

    def give_up(self, worker: Worker) -> list[Slice]:
        """Take everything a worker holds, which the caller makes ready again or fails; the worker stays."""
        held = list(worker.slices.values())
        for piece in held:
            self._end_recall(piece)
            piece.is_held = False
        worker.slices.clear()
        worker.begun = None
        self._counts.worker_disconnecting += worker.outstanding
        worker.outstanding = 0
        worker.load_seconds = 0.0
        self.update(worker)
        return held

    def remove(self, worker: Worker) -> list[Slice]:
        """Forget a worker; return what it held, as `give_up`."""
        held = self.give_up(worker)
        self.lanes.remove(worker)
        self._balance.remove(worker)
        for function in worker.functions:
            del function.workers[worker]
        return held

    def drain(self, worker: Worker) -> None:
        """Give the worker nothing more and take back everything it has not begun."""
        worker.draining = True
        self.update(worker)
        self.recall_all(worker)

    def undrain(self, worker: Worker) -> None:
        """Let the worker take part again."""
        worker.draining = False
        self.update(worker)

    def recall_all(self, worker: Worker) -> None:
        """Ask for everything the worker has not begun."""
        self._ask_back(worker, [(piece, piece.next) for piece in worker.slices.values() if not piece.recalling])

    def recall_rest(self, worker: Worker) -> None:
        """Ask for everything behind the worker's running task that it has not been asked for."""
        if worker.outstanding > 1:
            waiting = (piece for piece in worker.slices.values() if not piece.recalling and piece.limit > piece.next)
            self._ask_back(worker, [(piece, piece.next) for piece in waiting])

    def waiting_above(self, worker: Worker, floor: float, most: int) -> int:
        """Return how many tasks that suit the worker and are of higher priority wait to be run, up to `most`."""
        found, lanes = 0, self.lanes.of(worker)
        for lane in lanes:
            found += lane.ready.above(floor, most)
        if found < most:
            taken = self.lanes.idle()  # their queued tasks go elsewhere
            found += self._balance.queued({lane: floor for lane in lanes if lane not in taken}, most)
        return min(found, most)

    def balance(self, now: float) -> None:
        """Recall queued tasks from busy workers while others have nothing to do, or much less."""
        for donor, limits in self._balance.plans(now, self.lanes):
            self._ask_back(donor, limits)

    @property
    def wants_balance(self) -> bool:
        """Whether somebody is idle while somebody has queued tasks that may become worth a recall with time."""
        return self._balance.is_wanted(self.lanes)

    def _ask_back(self, worker: Worker, limits: list[tuple[Slice, int]]) -> None:
        self._counts.balance_canceling += sum(piece.stop - limit for piece, limit in limits)
        self._recall(worker, limits)

    def _recall(self, worker: Worker, limits: list[tuple[Slice, int]]) -> None:
        if not limits:
            return
        for piece, limit in limits:
            piece.recalling = True
            piece.limit = limit
        worker.recalls += len(limits)
        self._balance.recalls += len(limits)
        slice_ids = column(U64, [piece.slice_id for piece, _ in limits])
        self._out.send(worker.peer, RecallSlices(slice_ids, column(U32, [limit for _, limit in limits])))
        self._balance.note(worker)
        if worker.blocked:
            self._state.restless[worker] = None

    def _change_load(self, worker: Worker, tasks: int, task_seconds: float) -> None:
        worker.outstanding += tasks
        worker.load_seconds = max(0.0, worker.load_seconds + tasks * task_seconds) if worker.outstanding else 0.0
        self.update(worker)


def unfinished(submitted: SubmitBatch) -> list[tuple[int, int]]:
    """Return the intervals of tasks that the client does not say are finished."""
    edges = [0, *numbers(U32, submitted.finished), submitted.count]
    return [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop]
