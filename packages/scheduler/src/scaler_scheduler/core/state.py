"""The scheduler's tables: clients and their batches, workers and their slices, adapters and their groups.

The scheduler keeps intervals, not tasks: every task of a batch is ready, in exactly one slice, or finished.
`check` proves it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from scaler_protocol.messages import AdapterReport, Capabilities, HostReport, Message, SubmitBatch
from scaler_runtime.core import Effect, Log, Peer, Send, Stop
from scaler_scheduler.core.counts import TaskCounts
from scaler_scheduler.core.durations import Durations
from scaler_scheduler.core.intervals import Intervals

if TYPE_CHECKING:
    from scaler_scheduler.core.lanes import Lane


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


@dataclass(slots=True, eq=False)
class Client:
    """A client and its fair share: `used_seconds` is what its tasks are estimated to have taken, on a common scale."""

    peer: Peer
    name: str
    batches: dict[int, "Batch"] = field(default_factory=dict[int, "Batch"])
    functions: dict[bytes, Function] = field(default_factory=dict[bytes, Function])
    used_seconds: float = 0.0
    congested: bool = False
    noticed: set[str] = field(default_factory=set[str])
    ready_tasks: int = 0


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
    limit: int = 0
    """Where the recall under way, or the last one, asked it to end."""


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
    stopped_since: float | None = None
    """Since when its host says that its process is stopped (SIGSTOP)."""
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

    @property
    def leaving(self) -> bool:
        """Whether it is neither supply nor a victim; until it has gone it takes a place."""
        return self.draining or self.stopping


@dataclass(frozen=True, slots=True)
class Full:
    """When an adapter said that another group is too much: its capacity, and the groups that took it up."""

    capacity: int
    groups: int


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
    full: Full | None = None
    """No growth until there is more room than it had then."""
    is_away: bool = False
    """Whether its connection is lost: it is asked for nothing new, and none of its groups is drained."""

    @property
    def supply(self) -> int:
        """How many groups it shall have."""
        return sum(not group.leaving for group in self.groups.values())

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
    members: dict[str, dict[str, Worker]] = field(default_factory=dict[str, dict[str, Worker]])
    """The workers of each group, whoever asked for it."""
    lost: dict[tuple[Peer, str, int], list[Slice]] = field(default_factory=dict[tuple[Peer, str, int], list[Slice]])
    """Slices of processes (host, worker, incarnation) that were replaced before their host said how they ended."""
    busy: dict[Function, None] = field(default_factory=dict[Function, None])
    """Functions with unfinished tasks."""
    durations: Durations = field(default_factory=Durations)
    counts: TaskCounts = field(default_factory=TaskCounts)
    unfinished_tasks: int = 0
    slice_count: int = 0
    batch_count: int = 0

    def slices(self) -> Iterator[Slice]:
        """Return every slice that is not answered."""
        for worker in self.workers.values():
            yield from worker.slices.values()
        for lost in self.lost.values():
            yield from lost

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
                spans = [*batch.ready, *((piece.next, piece.stop) for piece in batch.slices.values())]
                assert batch.unfinished == sum(stop - start for start, stop in spans), "a task is lost"
                assert all(low[1] <= high[0] for low, high in pairwise(sorted(spans))), "a task is doubled"
                assert batch.unfinished > 0, "a finished batch is kept"
                assert batch.queued or not batch.ready, "a ready batch is not queued"
                assert not batch.abandoned
                unfinished += batch.unfinished
        assert unfinished == self.unfinished_tasks, "the total is off"
        assert unfinished == sum(function.unfinished for function in self.functions.values())
        for worker in self.workers.values():
            held = sum(piece.stop - piece.next for piece in worker.slices.values())
            assert worker.outstanding == held, "a worker's count is off"
            assert worker.begun is None or worker.begun.slice_id in worker.slices
            assert worker.recalls == sum(piece.recalling for piece in worker.slices.values())
            assert self.worker_of_peer[worker.peer] is worker
            assert self.members[worker.group_id][worker.worker_id] is worker
            assert worker.host not in self.hosts or worker.worker_id in self.hosts[worker.host].workers
        assert len(self.worker_of_peer) == len(self.workers) == sum(map(len, self.members.values()))
        assert all(self.members.values()), "an empty group is kept"
        groups = [group_id for adapter in self.adapters.values() for group_id in adapter.groups]
        assert len(groups) == len(set(groups)), "a group has two adapters"
        for function in self.functions.values():
            assert function.clients or function.batches, "a function that nobody uses is kept"
            assert (function in self.busy) == (function.unfinished > 0)
            assert all(function in worker.functions for worker in function.workers)


class Outbox:
    """The door through which decisions leave, as effects in order."""

    def __init__(self) -> None:
        self._effects: list[Effect] = []

    def send(self, peer: Peer, message: Message) -> None:
        """Send a message."""
        self._effects.append(Send(peer, message))

    def log(self, level: int, text: str) -> None:
        """Write a line."""
        self._effects.append(Log(level, text))

    def stop(self, reason: str) -> None:
        """End the scheduler."""
        self._effects.append(Stop(reason))

    def take(self) -> list[Effect]:
        """Return the effects since the last call."""
        effects, self._effects = self._effects, []
        return effects
