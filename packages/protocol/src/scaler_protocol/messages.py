"""Every message that travels, as plain records. What each field means on the wire stands in schema/scaler.capnp.

A record with a `payload` owns one frame behind the packet: opaque bytes that the scheduler passes on unseen.
"""

import signal
from dataclasses import dataclass, field
from typing import Final, Literal

PRODUCT: Final = "scaler"
PROTOCOL_VERSION: Final = 1
"""Raised whenever a released version could not understand the other; both sides compare it when a peer registers."""

ANY_TASK: Final = 0xFFFF_FFFF
"""Stands for any task of a slice."""

Role = Literal["client", "worker", "host", "adapter"]
Capabilities = dict[str, int]
"""Name to quantity; -1 means without quantity."""


# ---- sessions: outside the sequence


@dataclass(slots=True)
class Register:
    """The first message of a connection: who is there, and what it has of which scheduler instance.

    A client inside a task says in which worker's process it lives.
    """

    role: str
    session_id: bytes
    secret: bytes
    product: str
    protocol_version: int
    python_version: str
    name: str
    host_name: str
    pid: int
    instance_id: bytes
    received: int
    heartbeat_seconds: float = 0.0
    parent_worker: str = ""
    parent_incarnation: int = 0


@dataclass(slots=True)
class Registered:
    """The scheduler's answer; the limits are the client's credit in tasks and argument bytes that are not finished yet.

    `resumed` is false where the scheduler knows nothing of this session: the peer starts again from the beginning.
    """

    instance_id: bytes
    received: int
    resumed: bool
    warning: str = ""
    max_unfinished_tasks: int = 0
    max_unfinished_bytes: int = 0
    object_storage_address: str = ""


@dataclass(slots=True)
class Refused:
    """The scheduler will not talk to this peer; one line says why."""

    reason: str


@dataclass(slots=True)
class RegisterFirst:
    """The scheduler does not know the connection a packet came by."""


@dataclass(slots=True)
class Heartbeat:
    """A sign of life; the scheduler answers with the same."""


@dataclass(slots=True)
class Leave:
    """The peer goes in order and will not come back under this session."""

    reason: str


# ---- clients


@dataclass(slots=True)
class DefineFunction:
    """A pickled function, sent before the first batch or slice that names it."""

    function_id: bytes
    name: str
    payload: bytes


@dataclass(slots=True)
class ForgetFunctions:
    """The receiver may drop these functions: no later message names them without defining them again."""

    function_ids: list[bytes]


@dataclass(slots=True)
class SubmitBatch:
    """`count` calls of one function; their arguments are blocks in the payload (see batch.py).

    `finished` names tasks that need not run, as pairs of start and stop: a new scheduler is told what is over.
    The dependency columns name results of the same client's tasks that tasks wait for (`Encoding.LINKED`), all of them
    submitted before: in batches of lower ids, or further up in this one. Where one of them is over already, the whole
    batch is answered with `Status.DEPENDENCY_OVER`. Batches of one `graph` are accepted or refused together, by
    `graph_ready`, how many of all its tasks wait for nothing.
    """

    batch_id: int
    function_id: bytes
    count: int
    encoding: int
    block_counts: bytes
    block_sizes: bytes
    payload: bytes
    priority: int = 0
    timed: bool = False
    capabilities: Capabilities = field(default_factory=dict[str, int])
    finished: bytes = b""
    stream_output: bool = False
    dependency_counts: bytes = b""
    dependency_batches: bytes = b""
    dependency_tasks: bytes = b""
    graph: int = 0
    graph_ready: int = 0


@dataclass(slots=True)
class CancelTasks:
    """The client asks to end these tasks without a result. Each gets one outcome, as always: CANCELLED, or its own."""

    batch_id: int
    starts: bytes
    counts: bytes


@dataclass(slots=True)
class AbandonBatches:
    """The client wants nothing more of these batches."""

    batch_ids: list[int]


@dataclass(slots=True)
class TaskResults:
    """Outcomes of runs of consecutive tasks of one batch, in columns (see batch.py)."""

    slice_id: int
    client_id: bytes
    batch_id: int
    starts: bytes
    counts: bytes
    statuses: bytes
    sizes: bytes
    durations: bytes
    payload: bytes
    memory: bytes = b""
    cpu: bytes = b""


@dataclass(slots=True)
class TaskOutput:
    """What a task wrote to its standard output, or error, for the terminal of its client.

    A host names the dead process (worker, incarnation) that has left it. The process may have sent some of that itself:
    both count bytes from the beginning of the process's n-th `stream`.
    """

    client_id: bytes
    is_error: bool
    payload: bytes
    stream: int = 0
    position: int = 0
    worker_id: str = ""
    incarnation: int = 0


@dataclass(slots=True)
class HoldOutput:
    """Send no more output for this client, or go on: its terminal is slow. Tasks that write meanwhile wait."""

    client_id: bytes
    is_held: bool


@dataclass(slots=True)
class Notice:
    """A hint for the person at the client; `cause` is the same for hints that say the same."""

    cause: str
    text: str


@dataclass(slots=True)
class RequestShutdown:
    """The client asks the scheduler to end, with everything connected to it."""


@dataclass(slots=True)
class ShutdownRefused:
    """The scheduler goes on; `reason` says why."""

    reason: str


@dataclass(slots=True)
class Shutdown:
    """The scheduler ends on request, and so shall its peer; one that is `dismissed` shall end by itself."""

    reason: str
    dismissed: bool = False


# ---- workers


@dataclass(slots=True)
class HeldSlice:
    """Tasks [start, stop) that a process has of a scheduler before: one that runs, and outcomes nobody heard."""

    slice_id: int
    client_id: bytes
    batch_id: int
    start: int
    stop: int


@dataclass(slots=True)
class WorkerHello:
    """A worker's process is ready for tasks. A higher incarnation replaces the process before it.

    A helper names the worker whose slot it uses, its `lender`. `suspends`: its host stops a process whose slot is lent.
    The outcomes of what is `held` follow. Slices have numbers that no scheduler uses again.
    """

    worker_id: str
    incarnation: int
    host_id: bytes
    group_id: str
    queue_size: int
    pid: int
    capabilities: Capabilities
    lender: str = ""
    suspends: bool = False
    held: list[HeldSlice] = field(default_factory=list[HeldSlice])


@dataclass(slots=True)
class AssignSlice:
    """Tasks [start, stop) of a batch for one worker, with the blocks that cover them.

    The results that the tasks waited for follow the blocks in the payload, described by the dependency columns. One
    that several wait for comes once: `dependency_repeats` is 0 where a result has its own bytes, n for those of the
    n-th. What a task of the slice makes for a later one of it does not come at all (`MADE_HERE`).
    """

    slice_id: int
    client_id: bytes
    batch_id: int
    function_id: bytes
    start: int
    stop: int
    first: int
    priority: int
    encoding: int
    timed: bool
    block_counts: bytes
    block_sizes: bytes
    payload: bytes
    stream_output: bool = False
    dependency_counts: bytes = b""
    dependency_statuses: bytes = b""
    dependency_positions: bytes = b""
    dependency_sizes: bytes = b""
    dependency_repeats: bytes = b""


@dataclass(slots=True)
class RecallSlices:
    """Give back what has not begun: each slice shall end before its limit."""

    slice_ids: bytes
    limits: bytes


@dataclass(slots=True)
class SlicesReturned:
    """The answer: each slice ends before its limit, which is higher than asked where a task had begun already."""

    slice_ids: bytes
    limits: bytes


# ---- hosts


@dataclass(slots=True)
class WorkerReport:
    """One worker's current process as its host sees it; state is starting, running, stopped (SIGSTOP) or draining.

    Draining: the host is about to end and waits for `WorkersDrained`.
    """

    worker_id: str
    group_id: str
    incarnation: int
    pid: int
    state: str
    cpu: float = 0.0
    rss: int = 0
    has_task: bool = False
    task_lock: bool = False


@dataclass(slots=True)
class HostReport:
    """All workers of a host; its hello and its heartbeat. A worker that is not in the list does not exist any more.

    The figures here and in each worker's report are for monitors; zero where the host does not measure.
    """

    workers: list[WorkerReport]
    cpu: float = 0.0
    rss: int = 0
    free_memory: int = 0
    round_trip_seconds: float = 0.0


OWN_DOING: Final = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})
"""Signals by which a task ends its own process: its host replaces the process, the scheduler does not run it again."""


@dataclass(slots=True)
class ProcessEnded:
    """A worker's process is gone. `cause`: exit, signal, planned (drained, stopped), cancelled or timeout.

    `code` is the exit code or the signal's number.

    `slice_id` and `task` say what it was running, slice 0 nothing. `replaced`: a new process of the worker comes.
    """

    worker_id: str
    incarnation: int
    cause: str
    code: int
    slice_id: int
    task: int
    replaced: bool
    detail: str
    stderr_tail: str = ""


@dataclass(slots=True)
class EndTask:
    """End the worker's process if it is running this task (SIGTERM, SIGKILL 3 s later) and replace it.

    `task` may be ANY_TASK: any of this slice.
    """

    worker_id: str
    incarnation: int
    slice_id: int
    task: int


@dataclass(slots=True)
class WorkersDrained:
    """These workers of a draining host hold nothing any more: their processes may be ended."""

    worker_ids: list[str]


@dataclass(slots=True)
class LendSlot:
    """Start a helper process under this id: the worker's task waits for others, which shall run in its place."""

    worker_id: str
    incarnation: int
    helper_id: str


@dataclass(slots=True)
class EndHelpers:
    """These helpers hold nothing and are not needed any more."""

    helper_ids: list[str]


@dataclass(slots=True)
class SuspendWorker:
    """Stop the worker's process, whose slot is lent (SIGSTOP), or let it go on (SIGCONT)."""

    worker_id: str
    incarnation: int
    suspended: bool


# ---- adapters


@dataclass(slots=True)
class GroupReport:
    """A worker group as its adapter sees it; `state` is a value of the adapter's GroupState, `reason` why it is so."""

    group_id: str
    state: str
    reason: str
    worker_ids: list[str]
    capabilities: Capabilities


@dataclass(slots=True)
class GroupStatus:
    """What the last command did to one group: a status of the contract's table, and the reason."""

    group_id: str
    status: str
    reason: str


@dataclass(slots=True)
class AdapterReport:
    """Capacity and the full list of groups: hello, heartbeat, and answer to the command of this revision."""

    name: str
    revision: int
    max_worker_groups: int
    workers_per_group: int
    capabilities: Capabilities
    groups: list[GroupReport]
    statuses: list[GroupStatus]


@dataclass(slots=True)
class GroupSpec:
    """A group that shall exist, and what its workers shall offer."""

    group_id: str
    capabilities: Capabilities


@dataclass(slots=True)
class AdapterCommand:
    """The desired state. Absence from `groups` stops nothing; only `stop` does.

    `registered` are those of the groups whose workers the scheduler has heard of.
    """

    revision: int
    groups: list[GroupSpec]
    stop: list[str]
    registered: list[str] = field(default_factory=list[str])


Message = (
    Register
    | Registered
    | Refused
    | RegisterFirst
    | Heartbeat
    | Leave
    | DefineFunction
    | ForgetFunctions
    | SubmitBatch
    | AbandonBatches
    | TaskResults
    | Notice
    | RequestShutdown
    | ShutdownRefused
    | Shutdown
    | WorkerHello
    | AssignSlice
    | RecallSlices
    | SlicesReturned
    | HostReport
    | ProcessEnded
    | AdapterReport
    | AdapterCommand
    | CancelTasks
    | EndTask
    | WorkersDrained
    | TaskOutput
    | HoldOutput
    | LendSlot
    | EndHelpers
    | SuspendWorker
)


@dataclass(slots=True)
class Packet:
    """What one ZeroMQ message holds. Sequence 0: the messages are outside the sequence."""

    first_sequence: int
    acknowledged: int
    messages: list[Message]
