"""Work that goes on across the end of a scheduler: what workers still have of one before, and clients say again.

A worker that greets names the tasks that it runs, or has finished unheard. They are parked until their client submits
its batches again, which it does as soon as it has registered; then the worker has them as if it had got them here.
Until the workers have had time to come back, no other task of such a client is given out: it may be running.
"""

from dataclasses import dataclass, field

from scaler_protocol.batch import F64, U32, U64, numbers
from scaler_protocol.messages import ANY_TASK, EndTask, HeldSlice, Register, TaskResults, WorkerHello
from scaler_scheduler.core.dispatch import Dispatch
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.core.state import Client, Outbox, Slice, State, Worker

REJOIN_SECONDS = 1.5
"""Within this time whoever can reach a new scheduler has come back: connections are tried every second."""


@dataclass(slots=True, eq=False)
class _Parked:
    """Tasks of a worker's that nobody here knows yet; `next` is the first without an outcome."""

    held: HeldSlice
    worker: Worker
    until: float
    next: int
    results: list[TaskResults] = field(default_factory=list[TaskResults])


class Resumption:
    """See the module."""

    def __init__(self, settings: Settings, state: State, out: Outbox, dispatch: Dispatch, now: float) -> None:
        self._settings = settings
        self._state = state
        self._out = out
        self._dispatch = dispatch
        self._earliest = now + min(REJOIN_SECONDS, settings.resumption_seconds)
        self._latest = now + settings.resumption_seconds
        self._is_late = False  # for whoever has not come back by now: others wait only a little longer
        self._returning: dict[Client, None] = {}
        self._parked: dict[tuple[Worker, int], _Parked] = {}
        self._adopted: dict[tuple[Worker, int], Slice] = {}  # of which outcomes may come that are known
        self.is_concerned = False

    # ---- who comes, and who goes

    def client_joined(self, client: Client, register: Register, now: float) -> None:
        """Hold the tasks of a client back that had another scheduler, if that may have been until a moment ago."""
        if register.instance_id and now < self._latest:
            client.returning = True
            self._returning[client] = None
            self.is_concerned = True

    def client_left(self, client: Client) -> None:
        """Forget a client. What runs for it may end unheard, unless it comes back soon."""
        self._returning.pop(client, None)

    def greeted(self, worker: Worker, hello: WorkerHello, now: float) -> None:
        """Take in what a worker has of before."""
        self.is_concerned = True
        for held in hello.held:
            client = self._state.clients.get(held.client_id)
            batch = None if client is None else client.batches.get(held.batch_id)
            is_expected = client is None or (client.returning and batch is None)
            until = now + self._settings.worker_timeout_seconds if is_expected else now
            parked = _Parked(held, worker, until, held.start)
            self._parked[worker, held.slice_id] = parked
            if batch is not None:
                self._adopt(parked, now)

    # ---- what they say

    def submitted(self, client: Client, batch_id: int, now: float) -> None:
        """Give the tasks of a batch that has come to the workers that have them already."""
        if not self._parked:
            return
        for parked in list(self._parked.values()):
            if (parked.held.client_id, parked.held.batch_id) == (client.peer, batch_id):
                self._adopt(parked, now)

    def take(self, worker: Worker, results: TaskResults) -> TaskResults | None:
        """Return the outcomes without those that are known already; None if they have to wait for their client."""
        if not (self._parked or self._adopted):
            return results
        parked = self._parked.get((worker, results.slice_id))
        if parked is not None:
            starts, counts = numbers(U32, results.starts), numbers(U32, results.counts)
            if starts[0] == parked.next and starts[-1] + counts[-1] <= parked.held.stop:
                parked.next = starts[-1] + counts[-1]
                parked.results.append(results)
            return None
        piece = self._adopted.get((worker, results.slice_id))
        return results if piece is None else self._unknown_part(piece, results)

    # ---- time

    def settle(self, now: float) -> None:
        """Let waiting tasks go once the workers are back, and end what nobody asks for."""
        self._is_late = now >= self._earliest
        if self._returning and self._is_settled(now):
            for client in self._returning:
                client.returning = False
            self._returning.clear()
            for parked in self._parked.values():
                if parked.held.client_id in self._state.clients:  # it has said everything by now
                    parked.until = now
        for key, parked in list(self._parked.items()):
            if not self._is_there(parked.worker):
                del self._parked[key]
            elif parked.until <= now and parked.worker.host in self._state.hosts:
                del self._parked[key]
                self._end(parked)
        for key, piece in list(self._adopted.items()):
            if piece.worker.slices.get(piece.slice_id) is not piece:
                del self._adopted[key]
        self.is_concerned = bool(self._returning or self._parked or self._adopted)

    def next_wakeup(self) -> float | None:
        """Return when `settle` has something to do without an event."""
        wakeups = [parked.until for parked in self._parked.values() if parked.worker.host in self._state.hosts]
        if self._returning:
            wakeups.append(self._latest if self._is_late else self._earliest)
        return min(wakeups, default=None)

    def _is_settled(self, now: float) -> bool:
        """Whether all workers that hosts report have greeted; those that cannot are not waited for beyond the limit."""
        if now >= self._latest:
            return True
        workers = self._state.workers
        return self._is_late and all(
            entry.worker_id in workers
            for host in self._state.hosts.values()
            for entry in host.report.workers
            if entry.state == "running"
        )

    # ---- inside

    def _is_there(self, worker: Worker) -> bool:
        return self._state.workers.get(worker.worker_id) is worker

    def _adopt(self, parked: _Parked, now: float) -> None:
        """Make what is parked the worker's, as far as it is to be run; else it has to stop."""
        held, worker = parked.held, parked.worker
        if not self._is_there(worker):
            return
        batch = self._state.clients[held.client_id].batches.get(held.batch_id)  # it may be over already
        tasks = held.start, held.stop
        piece = None if batch is None else self._dispatch.adopt(batch, worker, held.slice_id, tasks)
        if piece is None:
            parked.until = now
            return
        del self._parked[worker, held.slice_id]
        self._adopted[worker, held.slice_id] = piece
        for results in parked.results:
            known = self._unknown_part(piece, results)
            if known is not None:
                self._dispatch.on_results(worker, known, now)

    def _unknown_part(self, piece: Slice, results: TaskResults) -> TaskResults | None:
        """Return the outcomes without those that the client has; it got them just before the end of the scheduler."""
        starts, counts = numbers(U32, results.starts), numbers(U32, results.counts)
        known = sum(start + count <= piece.next for start, count in zip(starts, counts, strict=True))
        if known == len(starts):
            return None
        if starts[known] < piece.next:  # a run of which the client has a part cannot be divided
            self._dispatch.disown(piece)
            return None
        return _without_first(results, known) if known else results

    def _end(self, parked: _Parked) -> None:
        worker = parked.worker
        self._out.send(worker.host, EndTask(worker.worker_id, worker.incarnation, parked.held.slice_id, ANY_TASK))


def _without_first(results: TaskResults, known: int) -> TaskResults:
    """Return the outcomes without the first `known` runs."""
    return TaskResults(
        slice_id=results.slice_id,
        client_id=results.client_id,
        batch_id=results.batch_id,
        starts=bytes(numbers(U32, results.starts)[known:]),
        counts=bytes(numbers(U32, results.counts)[known:]),
        statuses=results.statuses[known:],
        sizes=bytes(numbers(U32, results.sizes)[known:]),
        durations=bytes(numbers(F64, results.durations)[known:]),
        payload=results.payload[sum(numbers(U32, results.sizes)[:known]) :],
        memory=bytes(numbers(U64, results.memory)[known:]),
        cpu=bytes(numbers(F64, results.cpu)[known:]),
    )
