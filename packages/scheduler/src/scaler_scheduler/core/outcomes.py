"""What becomes of tasks: outcomes, on their way to clients and to the tasks that wait for them; the ends of batches."""

from collections.abc import Iterable
from contextlib import suppress

from scaler_protocol.batch import F64, RESULTS, U8, U32, Status, column, unpack_stored
from scaler_protocol.errors import ProtocolError
from scaler_protocol.identifiers import result_key
from scaler_protocol.messages import ForgetFunctions, TaskResults
from scaler_scheduler.core import dependencies
from scaler_scheduler.core.lanes import Lanes
from scaler_scheduler.core.links import Links, Outcome, Span
from scaler_scheduler.core.recent import runs_of
from scaler_scheduler.core.state import Batch, Client, Function, Outbox, Slice, State

_MOST_STORED = 4096
"""Of a slice's tasks: results large enough to be stored take some time each, and no slice is long."""


class Outcomes:
    """See the module. Who calls has taken the tasks out of slices and queues."""

    def __init__(self, state: State, out: Outbox, lanes: Lanes) -> None:
        self._state = state
        self._counts = state.counts
        self._out = out
        self._lanes = lanes

    # ---- for clients

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

    def drop_unheard(self, piece: Slice) -> None:
        """Have removed what a process may have stored of a slice before it ended, without a word of it."""
        tasks = range(piece.next, piece.stop)[:_MOST_STORED]
        self._out.delete_objects([result_key(piece.batch.client.peer, piece.slice_id, task) for task in tasks])

    def answer(self, client: Client, batch_id: int, tasks: range, status: Status, text: str) -> None:
        """Answer tasks in the scheduler's own name."""
        self._answer(client, batch_id, [(tasks.start, tasks.stop)], status, text.encode())

    def _answer(self, client: Client, batch_id: int, spans: list[Span], status: int, payload: bytes) -> None:
        self.deliver(
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

    def deliver(self, client: Client, results: TaskResults) -> None:
        """Send outcomes to their client."""
        self._out.send(client.peer, results)
        if client.recent is not None:
            client.recent.add(results)

    # ---- tasks that wait for results

    def make_ready(self, batch: Batch, start: int, stop: int) -> None:
        """Take note that tasks, which have been in no queue, may run."""
        self.count_unfinished(batch, stop - start)
        batch.lane.ready.add(batch, start, stop)

    def take_ahead(self, batch: Batch, start: int, stop: int) -> None:
        """Take note that a slice has waiting tasks too, whose results it makes itself."""
        if batch.links is not None:
            batch.links.ahead.update(range(start, stop))
            self.count_unfinished(batch, stop - start)

    def put_back(self, batch: Batch, links: Links, tasks: Iterable[int]) -> None:
        """Let tasks wait again that were ahead in a slice."""
        ahead = links.ahead.intersection(tasks)
        links.ahead -= ahead
        self.count_unfinished(batch, -len(ahead))

    def pass_on(self, batch: Batch, results: TaskResults) -> None:
        """Bring outcomes to the tasks that wait for them."""
        for run in runs_of(results):
            tasks = dependencies.awaited_of(batch, run.start, run.stop)
            if not tasks:
                continue
            if run.status not in RESULTS:
                self.end_dependents(batch, tasks, run.status, run.payload)
                continue
            for dependent, task in dependencies.succeeded(batch, tasks, run):
                self.make_ready(dependent, task, task + 1)

    def end_failed(self, batch: Batch, links: Links) -> None:
        """End the tasks of a new batch that wait for what has failed."""
        failed, links.failed = links.failed, {}
        for task, outcome in failed.items():
            if task in links.missing:
                self.end_waiting(batch, [task], outcome.status, outcome.run)

    def end_waiting(self, batch: Batch, tasks: list[int], status: int, payload: bytes) -> None:
        """End tasks that wait, without a result, and whatever waits for them."""
        for task in tasks:
            dependencies.drop(batch, task)
        dependents = dependencies.failed(batch, tasks, Outcome(status, 0, payload))
        if tasks:
            self._close_waiting(batch, tasks, status, payload)
        for dependent, doomed in dependents.items():
            self._close_waiting(dependent, doomed, status, payload)

    def end_dependents(self, batch: Batch, tasks: Iterable[int], status: int, payload: bytes) -> None:
        """End whatever waits for tasks that have ended without a result, as these have."""
        for dependent, doomed in dependencies.failed(batch, tasks, Outcome(status, 0, payload)).items():
            self._close_waiting(dependent, doomed, status, payload)

    def _close_waiting(self, batch: Batch, tasks: list[int], status: int, payload: bytes) -> None:
        self._counts.add_ended(status, len(tasks))
        self._answer(batch.client, batch.submitted.batch_id, dependencies.spans_of(tasks), status, payload)
        batch.unfinished -= len(tasks)
        if batch.unfinished == 0:
            self.close_batch(batch)

    # ---- ends

    def end_ready(self, batch: Batch, start: int, stop: int, status: Status, text: str) -> None:
        """End tasks that are in no slice, and not ready any more, without a result."""
        self._counts.add_ended(status, stop - start)
        self.answer(batch.client, batch.submitted.batch_id, range(start, stop), status, text)
        if batch.awaited:
            self.end_dependents(batch, dependencies.awaited_of(batch, start, stop), status, text.encode())
        if batch.links is not None:
            batch.links.forget(start, stop)
        self.finish(batch, stop - start)

    def fail(self, batch: Batch, task: int, status: Status, text: str) -> None:
        """End one task, which is in no slice and not ready, without a result."""
        if batch.abandoned:
            return
        batch.cancelling.discard(task)
        if batch.links is not None and task in batch.links.missing:
            self.put_back(batch, batch.links, (task,))
            self.end_waiting(batch, [task], status, text.encode())
        else:
            self.end_ready(batch, task, task + 1, status, text)

    def finish(self, batch: Batch, tasks: int) -> None:
        """Take note that so many ready or running tasks of a batch have ended."""
        batch.unfinished -= tasks
        self.count_unfinished(batch, -tasks)
        if batch.unfinished == 0:
            self.close_batch(batch)

    def count_unfinished(self, batch: Batch, tasks: int) -> None:
        """Take note that so many more tasks of a batch are ready or running."""
        function = batch.function
        self._state.unfinished_tasks += tasks
        batch.lane.unfinished += tasks
        function.unfinished += tasks
        if function.unfinished:
            self._state.busy[function] = None
        elif function in self._state.busy:
            del self._state.busy[function]

    def close_batch(self, batch: Batch) -> None:
        """Forget a batch that has ended."""
        del batch.client.batches[batch.submitted.batch_id]
        batch.client.held_tasks -= batch.submitted.count
        batch.client.held_bytes -= len(batch.submitted.payload)
        self._state.note_home(batch.client)
        self._lanes.leave(batch)
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
