"""The scheduler's tables: clients and their batches, workers and their slices, adapters and their groups.

The scheduler keeps intervals, not tasks: every task of a batch is ready, in exactly one slice, or finished. Only tasks
that need results of others are kept one by one: they wait first.
`check` proves it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING

from scaler_protocol.identifiers import root_of
from scaler_protocol.messages import AdapterReport, Capabilities, HostReport, Message, SubmitBatch
from scaler_runtime.core import DeleteObjects, DeleteOwner, Effect, EndSession, Log, Peer, Send, Stop, Vouch
from scaler_scheduler.core.counts import TaskCounts
from scaler_scheduler.core.durations import Durations
from scaler_scheduler.core.intervals import Intervals
from scaler_scheduler.core.links import Awaited, Links, Outcome

if TYPE_CHECKING:
    from scaler_scheduler.core.lanes import Lane
    from scaler_scheduler.core.lending import Loan
    from scaler_scheduler.core.recent import Recent


Home = tuple[str, int]
"""A worker's process: the worker's id and the incarnation."""


@dataclass(slots=True, eq=False)
class Function:
    """A pickled function, kept while a client that defined it, or a batch, may use it."""

    function_id: bytes
    name: str
    payload: bytes
    clients: set[Peer] = field(default_factory=set[Peer])
    batches: int = 0
    unfinished: int = 0
    """Unfinished tasks of these batches."""
    workers: dict["Worker", None] = field(default_factory=dict["Worker", None])
    """Whose current process has it."""
    wary: int = 0
    """So many of its next tasks come one at a time: one has waited for tasks of its own, and so may these.

    What were queued behind them would have to be taken back.
    """


@dataclass(slots=True, eq=False)
class Client:
    """A client and its fair share: `used_seconds` is what its tasks are estimated to have taken, on a common scale."""

    peer: Peer
    name: str
    home: Home | None = None
    """Of a client inside a task: the process it lives in."""
    batches: dict[int, "Batch"] = field(default_factory=dict[int, "Batch"])
    functions: dict[bytes, Function] = field(default_factory=dict[bytes, Function])
    used_seconds: float = 0.0
    congested: bool = False
    returning: bool = False
    """Whether workers may still run its tasks for a scheduler before this one."""
    """Whether nothing avoidable should be sent to it, for one of the two reasons that follow."""
    is_full: bool = False
    """Whether it takes in less than is sent to it."""
    is_slow: bool = False
    """Whether its terminal takes in less than tasks write."""
    silenced: dict[Peer, None] = field(default_factory=dict[Peer, None])
    """Workers that were told to send no output."""
    noticed: set[str] = field(default_factory=set[str])
    ready_tasks: int = 0
    graphs: dict[int, bool] = field(default_factory=dict[int, bool])
    """The last graphs of which a batch has come, and whether they were accepted."""
    recent: "Recent | None" = None
    """Of a client whose tasks wait for others: the last outcomes that it was sent."""
    held_tasks: int = 0
    """Of its batches, those that are finished too."""
    held_bytes: int = 0
    function_bytes: int = 0
    dismissed: bool = False
    """Whether it was sent away: nothing is kept for it."""

    @property
    def is_paused(self) -> bool:
        """Whether none of its tasks may be given out now."""
        return self.congested or self.returning


@dataclass(slots=True, eq=False)
class Batch:
    """A batch as submitted, and how far it is.

    `starts` and `offsets` say where each block begins, in tasks and bytes.
    """

    client: Client
    submitted: SubmitBatch
    function: Function
    lane: "Lane"
    order: int
    starts: list[int]
    offsets: list[int]
    ready: Intervals = field(default_factory=Intervals)
    unfinished: int = 0
    links: Links | None = None
    """What its tasks wait for, where one does."""
    awaited: Awaited = field(default_factory=Awaited)
    """Its tasks that others wait for."""
    failures: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    """Task to the causes of the losses it had; only tasks that had one."""
    cancelling: set[int] = field(default_factory=set[int])
    """Tasks that their client wants ended and that a worker holds."""
    slices: dict[int, "Slice"] = field(default_factory=dict[int, "Slice"])
    """Those that are not answered, in the order of assigning."""
    abandoned: bool = False
    forced: bool = False
    """Abandoned, and what runs of it shall be ended."""
    queued: bool = False
    """Whether the ready queue holds it."""

    @property
    def waiting(self) -> int:
        """How many tasks wait for results, and are in no slice."""
        return 0 if self.links is None else len(self.links.missing) - len(self.links.ahead)

    def spans(self) -> list[tuple[int, int]]:
        """Return the tasks that are ready or in a slice."""
        return [*self.ready, *((piece.next, piece.stop) for piece in self.slices.values())]


@dataclass(slots=True, eq=False)
class Slice:
    """Tasks [next, stop) of a batch that a worker's process has not answered; results come in their order."""

    slice_id: int
    batch: Batch
    worker: "Worker"
    next: int
    stop: int
    task_seconds: float
    is_held: bool = True
    """Whether the worker has it; else its process is gone, and the host is still to say how."""
    recalling: bool = False
    limit: int = 1 << 32
    """Where the recall under way, or the last one, asked it to end; beyond every task before the first one."""


@dataclass(slots=True, eq=False)
class Worker:
    """A worker and what its current process holds. `load_seconds` estimates how long that takes."""

    worker_id: str
    peer: Peer
    incarnation: int
    host: Peer
    group_id: str
    queue_size: int
    capabilities: Capabilities
    slices: dict[int, Slice] = field(default_factory=dict[int, Slice])
    outstanding: int = 0
    load_seconds: float = 0.0
    recalls: int = 0
    """Slices whose return is awaited."""
    begun: Slice | None = None
    """The slice it is known to be in the middle of. A process works on one at a time, and not always on the oldest."""
    functions: dict[Function, None] = field(default_factory=dict[Function, None])
    """What its process has been sent."""
    progressed_at: float = 0.0
    draining: bool = False
    given_up_at: float = -inf
    """When what it held was last given up because it was stopped."""
    stopped_since: float | None = None
    """Since when its host says that its process is stopped (SIGSTOP)."""
    clients: dict[Client, None] = field(default_factory=dict[Client, None])
    """Those that live in its process."""
    blocked: bool = False
    """Whether its task is taken to wait for tasks of such a client: it takes nothing more."""
    lender: str = ""
    """Of a helper: the worker whose slot it uses."""
    floor: float = -inf
    """It takes only tasks of a higher priority; a helper that shall take none: infinite."""
    suspends: bool = False
    """Whether its host stops it on request."""
    suspended: bool = False
    """Whether it is stopped so."""
    version: int = 0
    """Counts changes of its load, so that the queue of hungry workers recognises stale entries."""

    @property
    def stopped(self) -> bool:
        """Whether its process is stopped."""
        return self.stopped_since is not None

    @property
    def running(self) -> Slice | None:
        """The slice whose next task most likely runs."""
        return self.begun or next(iter(self.slices.values()), None)


@dataclass(slots=True, eq=False)
class Host:
    """A worker host: the processes of these workers live and die with it."""

    peer: Peer
    name: str
    workers: set[str] = field(default_factory=set[str])
    reported: set[str] = field(default_factory=set[str])
    """Workers in its last report."""
    report: HostReport = field(default_factory=lambda: HostReport([]))
    """The last one, with figures for monitors."""
    reported_at: float | None = None
    draining: set[str] = field(default_factory=set[str])
    """Workers it wants to end."""
    undrained: dict[str, None] = field(default_factory=dict[str, None])
    """Those of them it has not been told are empty."""
    ended: dict[str, int] = field(default_factory=dict[str, int])
    """The last incarnation that it said has ended, of each worker, for greetings that come late."""


@dataclass(slots=True, eq=False)
class Group:
    """A worker group. Its adapter is asked for it while `wanted`, and to end it once `stopping`; between, it drains."""

    group_id: str
    capabilities: Capabilities
    since_revision: int = 0
    """The first command that named it; a later report without it says that it is gone. 0: the adapter told us of it."""
    state: str = "requested"
    reason: str = ""
    draining: bool = False
    stopping: bool = False
    is_refused: bool = False
    """Whether its adapter has no room for it: it takes none."""
    registered: bool = False
    """Whether all its workers have been heard of."""
    is_given_up: bool = False
    """Whether its adapter ends it unasked."""

    @property
    def leaving(self) -> bool:
        """Whether it is neither supply nor a victim; until it has gone it takes a place."""
        return self.draining or self.stopping

    @property
    def can_return(self) -> bool:
        """Whether it only drains: its adapter has not heard of that, it may be taken back at any moment."""
        return self.draining and not self.stopping


@dataclass(frozen=True, slots=True)
class Full:
    """When an adapter said that another group is too much: its capacity, and the groups that took it up."""

    capacity: int
    groups: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Groups of an adapter: those that stay, those that only drain and may return, and those that end."""

    staying: int
    draining: int
    stopping: int


@dataclass(slots=True, eq=False)
class Adapter:
    """An adapter, what it last said, and the groups it shall have."""

    peer: Peer
    name: str
    report: AdapterReport
    groups: dict[str, Group] = field(default_factory=dict[str, Group])
    revision: int = 0
    """Of the last command."""
    changed: bool = False
    """Whether the desired state differs from the last command."""
    ended: set[str] = field(default_factory=set[str])
    """Groups that its last report said have ended."""
    has_news: bool = False
    """Whether groups have registered since the last command."""
    full: Full | None = None
    """No growth until there is more room than it had then."""
    is_away: bool = False
    """Whether its connection is lost: it is asked for nothing new, and none of its groups is drained."""

    known_tally: "Tally | None" = None
    """Dropped whenever a group comes, goes, or changes between staying and leaving."""

    @property
    def tally(self) -> "Tally":
        """How many groups it shall have, and how many are on their way out."""
        if self.known_tally is None:
            stopping = sum(group.stopping for group in self.groups.values())
            draining = sum(group.draining and not group.stopping for group in self.groups.values())
            self.known_tally = Tally(len(self.groups) - stopping - draining, draining, stopping)
        return self.known_tally

    @property
    def places_taken(self) -> int:
        """How many groups take a place, those that are leaving too."""
        return sum(not group.is_refused for group in self.groups.values())


@dataclass(slots=True)
class State:
    """Everything the scheduler knows."""

    clients: dict[Peer, Client] = field(default_factory=dict[Peer, Client])
    functions: dict[bytes, Function] = field(default_factory=dict[bytes, Function])
    workers: dict[str, Worker] = field(default_factory=dict[str, Worker])
    worker_of_peer: dict[Peer, Worker] = field(default_factory=dict[Peer, Worker])
    hosts: dict[Peer, Host] = field(default_factory=dict[Peer, Host])
    adapters: dict[Peer, Adapter] = field(default_factory=dict[Peer, Adapter])
    owners: dict[str, Adapter] = field(default_factory=dict[str, Adapter])
    """The adapter that has each group."""
    members: dict[str, dict[str, Worker]] = field(default_factory=dict[str, dict[str, Worker]])
    """The workers of each group, whoever asked for it."""
    lost: dict[tuple[Peer, str, int], list[Slice]] = field(default_factory=dict[tuple[Peer, str, int], list[Slice]])
    """Slices of processes (host, worker, incarnation) that were replaced before their host said how they ended."""
    homes: dict[Home, dict[Client, None]] = field(default_factory=dict[Home, dict[Client, None]])
    """The clients that live in processes of workers, which may register before their process."""
    helpers: dict[str, dict[Worker, None]] = field(default_factory=dict[str, dict[Worker, None]])
    """The helpers of each worker, and of its helpers; they are workers of no group."""
    loans: dict[str, "Loan"] = field(default_factory=dict[str, "Loan"])
    """By the lender's id."""
    restless: dict[Worker, None] = field(default_factory=dict[Worker, None])
    """Lenders and helpers that have changed since lending was settled."""
    busy: dict[Function, None] = field(default_factory=dict[Function, None])
    """Functions with unfinished tasks."""
    durations: Durations = field(default_factory=Durations)
    counts: TaskCounts = field(default_factory=TaskCounts)
    unfinished_tasks: int = 0
    """Ready or in a slice: without any, none waits for results."""
    first_slice_id: int = 0
    slice_count: int = 0
    batch_count: int = 0

    def slices(self) -> Iterator[Slice]:
        """Return every slice that is not answered."""
        for worker in self.workers.values():
            yield from worker.slices.values()
        for lost in self.lost.values():
            yield from lost

    @property
    def worker_count(self) -> int:
        """How many workers there are; helpers are none."""
        return len(self.workers) - sum(map(len, self.helpers.values()))

    def is_empty(self, worker_id: str) -> bool:
        """Whether neither the worker nor a helper of its holds a task."""
        worker = self.workers.get(worker_id)
        return not (worker and worker.slices) and not any(one.slices for one in self.helpers.get(worker_id, ()))

    def note_home(self, client: Client) -> None:
        """Take note of a change of a client's tasks, which one around it may wait for."""
        if client.home is not None:
            worker = self.workers.get(client.home[0])
            if worker is not None and worker.incarnation == client.home[1]:
                self.restless[worker] = None

    def check(self) -> None:
        """Raise `AssertionError` unless the tables agree with each other."""
        for piece in self.slices():
            assert piece.next < piece.stop, "an answered slice is kept"
            assert piece.batch.slices[piece.slice_id] is piece
            assert piece.is_held == (piece.worker.slices.get(piece.slice_id) is piece)
        unfinished = 0
        for client in self.clients.values():
            assert client.ready_tasks == sum(batch.ready.size for batch in client.batches.values())
            for batch in client.batches.values():
                spans = [*batch.spans(), *_check_links(batch, batch.links)]
                assert batch.unfinished == sum(stop - start for start, stop in spans), "a task is lost"
                assert all(low[1] <= high[0] for low, high in pairwise(sorted(spans))), "a task is doubled"
                assert batch.unfinished > 0, "a finished batch is kept"
                assert batch.queued or not batch.ready, "a ready batch is not queued"
                assert not batch.abandoned
                unfinished += batch.unfinished - batch.waiting
        assert unfinished == self.unfinished_tasks, "the total is off"
        assert unfinished == sum(function.unfinished for function in self.functions.values())
        for worker in self.workers.values():
            held = sum(piece.stop - piece.next for piece in worker.slices.values())
            assert worker.outstanding == held, "a worker's count is off"
            assert worker.begun is None or worker.begun.slice_id in worker.slices
            assert worker.recalls == sum(piece.recalling for piece in worker.slices.values())
            assert self.worker_of_peer[worker.peer] is worker
            if worker.lender:
                assert worker in self.helpers[root_of(worker.worker_id)]
            else:
                assert self.members[worker.group_id][worker.worker_id] is worker
            assert all(client.home == (worker.worker_id, worker.incarnation) for client in worker.clients)
            assert all(self.clients.get(client.peer) is client for client in worker.clients)
            assert worker.host not in self.hosts or worker.worker_id in self.hosts[worker.host].workers
        assert len(self.worker_of_peer) == len(self.workers)
        assert self.worker_count == sum(map(len, self.members.values()))
        assert all(self.members.values()), "an empty group is kept"
        assert all(self.helpers.values())
        for lender_id, loan in self.loans.items():
            assert loan.helper_id, "an empty loan is kept"
            assert loan.helper is None or self.workers[loan.helper_id] is loan.helper
            assert loan.helper is None or loan.helper.lender == lender_id
        for client in self.clients.values():
            assert client.home is None or client in self.homes[client.home]
            assert client.held_tasks == sum(batch.submitted.count for batch in client.batches.values())
            assert client.held_bytes == sum(len(batch.submitted.payload) for batch in client.batches.values())
            assert client.function_bytes == sum(len(function.payload) for function in client.functions.values())
        assert sum(map(len, self.homes.values())) == sum(client.home is not None for client in self.clients.values())
        for adapter in self.adapters.values():
            assert all(self.owners[group_id] is adapter for group_id in adapter.groups), "a group has two adapters"
            tally = adapter.tally
            leaving = sum(group.leaving for group in adapter.groups.values())
            assert (tally.staying, tally.draining + tally.stopping) == (len(adapter.groups) - leaving, leaving)
        assert len(self.owners) == sum(len(adapter.groups) for adapter in self.adapters.values())
        for function in self.functions.values():
            assert function.clients or function.batches, "a function that nobody uses is kept"
            assert (function in self.busy) == (function.unfinished > 0)
            assert all(function in worker.functions for worker in function.workers)


def _check_links(batch: Batch, links: Links | None) -> list[tuple[int, int]]:
    """Check the tasks of a batch that wait or are waited for; return those that wait."""
    if links is None and not batch.awaited:
        return []
    batches, batch_id = batch.client.batches, batch.submitted.batch_id
    held = {task for span in batch.spans() for task in range(*span)}
    for task, dependents in batch.awaited.items():
        assert task in held or (links is not None and task in links.missing), "a task that is over is waited for"
        assert dependents, "an empty list of dependents is kept"
        for other_id, edge in dependents:
            other = batches[other_id].links
            assert other is not None
            assert other.edges[edge] == (batch_id, task), "a task is waited for by one that does not wait for it"
    for task in range(batch.submitted.count if links is not None else 0):
        assert links is not None
        edges = {edge: links.edges[edge] for edge in links.edges_of(task)}
        if task in links.ahead:
            assert task in held, "a task is ahead of what it needs in no slice"
            made_here = [known for known in edges.values() if isinstance(known, tuple)]
            assert links.missing[task] == len(made_here) > 0, "the number of results that a task waits for is off"
            over = [known for known in made_here if known[1] not in held]
            assert not over or task in links.failed, "a task waits in a slice for one that is over"
        elif task in held:
            assert task not in links.missing
            assert all(isinstance(known, Outcome) for known in edges.values()), "a task is ready before its time"
        elif task in links.missing:
            sources = [(edge, known) for edge, known in edges.items() if isinstance(known, tuple)]
            assert links.missing[task] == len(sources) > 0, "the number of results that a task waits for is off"
            for edge, (other, source) in sources:
                awaited = batches[other].awaited if other in batches else {}
                assert (batch_id, edge) in awaited.get(source, ()), "a task waits for one that is over"
            assert not any(known is None for known in edges.values())
        else:
            assert all(known is None for known in edges.values()), "results are kept for a task that is over"
    return [] if links is None else [(task, task + 1) for task in links.waiting(0, batch.submitted.count)]


class Outbox:
    """The door through which decisions leave, as effects in order."""

    def __init__(self) -> None:
        self._effects: list[Effect] = []

    def __len__(self) -> int:
        return len(self._effects)

    def send(self, peer: Peer, message: Message) -> None:
        """Send a message."""
        self._effects.append(Send(peer, message))

    def log(self, level: int, text: str) -> None:
        """Write a line."""
        self._effects.append(Log(level, text))

    def vouch(self, peer: Peer, *, vouched: bool) -> None:
        """Answer for a peer that cannot give signs of life, or do so no longer."""
        self._effects.append(Vouch(peer, vouched))

    def end_session(self, peer: Peer, reason: str) -> None:
        """Send a peer away; that it has left comes as an event."""
        self._effects.append(EndSession(peer, reason))

    def delete_objects(self, keys: list[bytes]) -> None:
        """Have objects removed that nobody will ask for."""
        self._effects.append(DeleteObjects(keys))

    def delete_owner(self, owner: bytes) -> None:
        """Have all objects of a client that is gone removed."""
        self._effects.append(DeleteOwner(owner))

    def stop(self, reason: str) -> None:
        """End the scheduler."""
        self._effects.append(Stop(reason))

    def take(self) -> list[Effect]:
        """Return the effects since the last call."""
        effects, self._effects = self._effects, []
        return effects
