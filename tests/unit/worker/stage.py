"""A worker's core without sockets and threads: slices go in, outcomes come out, decoded."""

import mmap
from dataclasses import dataclass, field

from scaler_client.exceptions import ObjectStorageException
from scaler_client.serializer import DefaultSerializer, dump_call, dump_function, dump_values, load_failure
from scaler_protocol import messages as m
from scaler_protocol.batch import F64, U8, U32, Encoding, Status, column, numbers
from scaler_runtime.session import Incoming
from scaler_worker.agent import Agent
from scaler_worker.context import RunningContext
from scaler_worker.executor import Executor
from scaler_worker.functions import Function
from scaler_worker.housekeeping import Housekeeping
from scaler_worker.outcomes import Outcomes
from scaler_worker.output import Output
from scaler_worker.record import Record
from scaler_worker.workload import Piece, Workload

DEFAULT = DefaultSerializer()
HELLO = m.WorkerHello("Worker|x", 1, b"host", "group", 1000, 42, {"gpu": 1})


def new_record():
    return Record(mmap.mmap(-1, 4096), 1)


def function(fn, serializer=DEFAULT):
    return Function(getattr(fn, "__name__", "fn"), dump_function(fn, serializer))


def assigned(
    blocks, *, encoding=Encoding.VALUES, start=0, stop=None, first=0, slice_id=7, priority=0, timed=False, fid=b"f" * 16
):
    """Make a slice of blocks, each (bytes, number of tasks)."""
    total = first + sum(count for _, count in blocks)
    return m.AssignSlice(
        slice_id=slice_id,
        client_id=b"Client|1",
        batch_id=3,
        function_id=fid,
        start=start,
        stop=total if stop is None else stop,
        first=first,
        priority=priority,
        encoding=encoding,
        timed=timed,
        block_counts=column(U32, [count for _, count in blocks]),
        block_sizes=column(U32, [len(block) for block, _ in blocks]),
        payload=b"".join(block for block, _ in blocks),
    )


def values(*lists, **options):
    """Make a slice whose blocks hold these lists of single arguments."""
    return assigned([(dump_values(list(items)), len(items)) for items in lists], **options)


def tuples(*lists, **options):
    return values(*lists, encoding=Encoding.TUPLES, **options)


def calls(*arguments, serializer=DEFAULT, **options):
    """Make a slice of tasks that come one to a block: each (args, kwargs)."""
    blocks = [(dump_call(args, kwargs, serializer), 1) for args, kwargs in arguments]
    return assigned(blocks, encoding=Encoding.CALL, **options)


@dataclass
class FakeSender:
    """Notes how often it was woken."""

    flushed_at: float = float("inf")
    is_armed: bool = True
    woken: int = 0
    on_wake: object = None

    def hand_over(self):
        self.woken += 1
        if self.on_wake is not None:
            self.on_wake()


@dataclass
class FakeStorage:
    """Holds objects in a dict; there is an object storage once it has an address."""

    address: str = ""
    objects: dict = field(default_factory=dict)
    owners: list = field(default_factory=list)

    def put(self, key, owner, parts):
        self.owners.append(owner)
        if len(self.owners) > 2:
            raise ObjectStorageException("no place for it")
        self.objects[key] = parts.cut(0, parts.size)

    def fetch(self, key):
        if key not in self.objects:
            raise ObjectStorageException(f"there is no object {key!r}")
        return memoryview(self.objects[key])

    fetch_shared = fetch_value = fetch

    def delete(self, keys):
        for key in keys:
            del self.objects[key]


@dataclass
class Run:
    """A decoded run."""

    start: int
    count: int
    status: Status
    payload: bytes
    seconds: float


class Stage:
    """A workload, outcomes and an executor, run by the test's own thread."""

    def __init__(self):
        self.record = new_record()
        self.workload = Workload(self.record)
        self.storage = FakeStorage()
        self.outcomes = Outcomes()
        self.output = Output(lambda *_: None, lambda: None)
        self.sender = FakeSender()
        self.context = RunningContext(self.record, "tcp://scheduler:1", "")
        self.executor = Executor(
            self.workload,
            self.outcomes,
            self.record,
            context=self.context,
            sender=self.sender,
            housekeeping=Housekeeping(1000, 1 << 60),
            storage=self.storage,
            output=self.output,
        )

    def put(self, assignment, fn, serializer=DEFAULT):
        piece = Piece.of(assignment, fn if isinstance(fn, Function) else function(fn, serializer))
        self.workload.put(piece)
        return piece

    def run_next(self):
        self.executor.run_piece(self.workload.take(0))

    def run(self, assignment, fn, serializer=DEFAULT):
        """Run one slice to its end and return its runs."""
        self.put(assignment, fn, serializer)
        self.run_next()
        return self.runs()

    def runs(self):
        return [run for results in self.outcomes.take() for run in decode(results)]


@dataclass
class Conversation:
    """An agent with everything it talks to."""

    stage: Stage = field(default_factory=Stage)
    sent: list = field(default_factory=list)
    unacknowledged: int = 0

    def __post_init__(self):
        self.agent = Agent(
            HELLO,
            self.stage.workload,
            self.stage.outcomes,
            self.stage.output,
            send=self.sent.append,
            wake=lambda: None,
            unacknowledged_bytes=lambda: self.unacknowledged,
            heartbeat_seconds=1.0,
            death_timeout_seconds=30.0,
        )

    def hear(self, *messages, now=0.0):
        for message in messages:
            self.agent.on_event(Incoming(message), now)
        return self.turn(now)

    def turn(self, now=0.0, heard_at=None):
        """Let the IO thread have its turn; returns what it sent."""
        self.agent.on_wake(now, now if heard_at is None else heard_at)
        sent, self.sent[:] = list(self.sent), []
        return sent


def decode(results):
    """Take the columns of `TaskResults` apart."""
    runs, offset = [], 0
    columns = (
        numbers(U32, results.starts),
        numbers(U32, results.counts),
        numbers(U8, results.statuses),
        numbers(U32, results.sizes),
        numbers(F64, results.durations),
    )
    for start, count, status, size, seconds in zip(*columns, strict=True):
        runs.append(Run(start, count, Status(status), results.payload[offset : offset + size], seconds))
        offset += size
    assert offset == len(results.payload)
    return runs


def shape(runs):
    return [(run.start, run.count, run.status) for run in runs]


def text(run):
    return run.payload.decode()


def error(run):
    assert run.status == Status.EXCEPTION
    return load_failure(run.payload)
