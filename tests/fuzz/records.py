"""Random messages, from small pools of values, so that ids meet: valid ones, and ones of which only the types are."""

from dataclasses import fields, is_dataclass
from functools import cache
from random import Random
from typing import get_args, get_origin, get_type_hints

from scaler_protocol import messages as m
from scaler_protocol.batch import F64, U8, U32, U64, Encoding, Status, column, pack_stored

INTEGERS = (0, 1, 2, 3, 5, 17, 255, 256, 4096, 2**31 - 1, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**64 - 1, -1, -(2**31))
TEXTS = (
    "",
    "a",
    "W1",
    "W2",
    "H",
    "G1",
    "G2",
    "Worker|w|1",
    "running",
    "draining",
    "signal",
    "exit",
    "x" * 300,
    "ü\0\n",
)
BYTES = (b"", b"a" * 16, b"b" * 16, b"c" * 16, b"f" * 16, b"g" * 16, b"\0" * 8, bytes(range(64)), b"x" * 1000)
COLUMNS = (column(U32, []), column(U32, [1]), column(U32, [0, 1]), column(U32, [2, 2]), column(U32, [0, 2**32 - 1]))


def message(rng: Random, kinds):
    """Return a random message of one of these classes, more often than not one that is valid."""
    kind = rng.choice(kinds)
    make = _VALID.get(kind)
    if make is not None and rng.random() < 0.7:
        return make(rng)
    return record(rng, kind)


def record(rng: Random, kind):
    """Return a record of a class with random values of the right types."""
    return kind(**{name: _value(rng, hint) for name, hint in _hints(kind).items()})


def kinds_of(union):
    return list(get_args(union))


@cache
def _hints(kind):
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _value(rng, hint):
    make = _SIMPLE.get(hint)
    if make is not None:
        return make(rng)
    if get_origin(hint) is dict:
        return {rng.choice(TEXTS): rng.choice((-1, 0, 1, 2**62)) for _ in range(rng.randrange(3))}
    if get_origin(hint) is list:
        (item,) = get_args(hint)
        return [_value(rng, item) for _ in range(rng.randrange(4))]
    if is_dataclass(hint):
        return record(rng, hint)
    return rng.choice(BYTES) if rng.random() < 0.5 else rng.choice(COLUMNS)  # bytes, of a column or not


_SIMPLE = {
    bool: lambda rng: rng.random() < 0.5,
    int: lambda rng: rng.choice(INTEGERS) if rng.random() < 0.4 else rng.randrange(6),
    float: lambda rng: rng.choice((0.0, 1.0, -1.0, 1e300, float("inf"), float("nan"), rng.random())),
    str: lambda rng: rng.choice(TEXTS),
}


# ---- messages whose columns agree with each other


def _blocks(rng):
    counts = [rng.choice((1, 1, 2, 5)) for _ in range(rng.choice((1, 1, 2, 4)))]
    single = all(count == 1 for count in counts)
    encoding = rng.choice([Encoding.VALUES, Encoding.TUPLES, *([Encoding.CALL, Encoding.LINKED] if single else [])])
    payloads = [rng.randbytes(rng.randrange(20)) for _ in counts]
    return counts, encoding, payloads


def submit(rng):
    counts, encoding, payloads = _blocks(rng)
    total = sum(counts)
    batch = m.SubmitBatch(
        batch_id=rng.randrange(5),
        function_id=rng.choice((b"f" * 16, b"g" * 16)),
        count=total,
        encoding=encoding,
        block_counts=column(U32, counts),
        block_sizes=column(U32, map(len, payloads)),
        payload=b"".join(payloads),
        priority=rng.choice((0, 0, 1, 2**31 - 1)),
        capabilities=rng.choice(({}, {}, {"gpu": -1}, {"gpu": 2, "x": 0})),
        graph=rng.choice((0, 0, 0, 1, 2)),
        graph_ready=rng.choice((0, 1, 5)),
    )
    if rng.random() < 0.3:
        low = rng.randrange(total)
        batch.finished = column(U32, [low, rng.randrange(low, total) + 1])
    if encoding == Encoding.LINKED and rng.random() < 0.7:
        edges = [rng.randrange(3) for _ in range(total)]
        batch.dependency_counts = column(U32, edges)
        batch.dependency_batches = column(U64, [rng.randrange(5) for _ in range(sum(edges))])
        batch.dependency_tasks = column(U32, [rng.randrange(6) for _ in range(sum(edges))])
    return batch


def results(rng, slice_id=None, start=None, most=4):
    runs, position = [], rng.randrange(4) if start is None else start
    for _ in range(rng.choice((1, 1, 2))):
        status = rng.choice((Status.VALUES, Status.VALUES, Status.EXCEPTION, *Status))
        count = 1 if status in {Status.VALUE, Status.STORED} else rng.randrange(most) + 1
        payload = pack_stored(5, b"k" * 16) if status == Status.STORED and rng.random() < 0.8 else rng.randbytes(3)
        runs.append((position, count, status, payload))
        position += count if rng.random() < 0.95 else rng.randrange(3)
    return m.TaskResults(
        slice_id=rng.randrange(40) if slice_id is None else slice_id,
        client_id=rng.choice((b"a" * 16, b"b" * 16)),
        batch_id=rng.randrange(5),
        starts=column(U32, [run[0] for run in runs]),
        counts=column(U32, [run[1] for run in runs]),
        statuses=column(U8, [run[2] for run in runs]),
        sizes=column(U32, [len(run[3]) for run in runs]),
        durations=column(F64, [rng.choice((0.0, 0.01, float("nan"), -1.0, 1e308)) for _ in runs]),
        payload=b"".join(run[3] for run in runs),
    )


def assign(rng):
    counts, encoding, payloads = _blocks(rng)
    first = rng.randrange(3)
    start = first + rng.randrange(sum(counts))
    return m.AssignSlice(
        slice_id=rng.randrange(40),
        client_id=b"a" * 16,
        batch_id=rng.randrange(5),
        function_id=rng.choice((b"f" * 16, b"g" * 16)),
        start=start,
        stop=rng.randrange(start, first + sum(counts)) + 1,
        first=first,
        priority=0,
        encoding=encoding,
        timed=False,
        block_counts=column(U32, counts),
        block_sizes=column(U32, map(len, payloads)),
        payload=b"".join(payloads),
    )


def returned(rng):
    ids = [rng.randrange(40) for _ in range(rng.randrange(3))]
    return m.SlicesReturned(column(U64, ids), column(U32, [rng.randrange(8) for _ in ids]))


def recall(rng):
    limits = returned(rng)
    return m.RecallSlices(limits.slice_ids, limits.limits)


def cancel(rng):
    starts = [rng.randrange(8) for _ in range(rng.randrange(3))]
    return m.CancelTasks(
        rng.randrange(5), column(U32, starts), column(U32, [rng.choice((1, 2, 2**32 - 1)) for _ in starts])
    )


def hello(rng):
    return m.WorkerHello(
        worker_id=rng.choice(("W1", "W2", "W3")),
        incarnation=rng.randrange(4),
        host_id=rng.choice((b"h" * 16, b"i" * 16, b"a" * 16)),
        group_id=rng.choice(("", "G1", "G2")),
        queue_size=rng.choice((0, 1, 10)),
        pid=1,
        capabilities=rng.choice(({}, {"gpu": 2})),
        lender=rng.choice(("", "", "", "W1", "W2")),
        suspends=rng.random() < 0.5,
        held=[_held(rng) for _ in range(rng.choice((0, 0, 1, 3)))],
    )


def _held(rng):
    start = rng.randrange(5)
    client = rng.choice((b"a" * 16, b"b" * 16, b"?" * 16))
    return m.HeldSlice(rng.randrange(60), client, rng.randrange(5), start, start + rng.randrange(1, 4))


def host_report(rng):
    workers = [
        m.WorkerReport(
            rng.choice(("W1", "W2", "W3")),
            rng.choice(("", "G1")),
            rng.randrange(4),
            1,
            rng.choice(("starting", "running", "stopped", "draining", "?")),
        )
        for _ in range(rng.randrange(4))
    ]
    return m.HostReport(workers, cpu=rng.choice((0.0, float("nan"))))


def process_ended(rng):
    return m.ProcessEnded(
        worker_id=rng.choice(("W1", "W2", "W3")),
        incarnation=rng.randrange(4),
        cause=rng.choice(("exit", "signal", "planned", "cancelled", "timeout", "?")),
        code=rng.choice((0, 1, 9, 11, 15, 200, -1)),
        slice_id=rng.randrange(40),
        task=rng.randrange(8),
        replaced=rng.random() < 0.5,
        detail=rng.choice(TEXTS),
    )


_VALID = {
    m.SubmitBatch: submit,
    m.TaskResults: results,
    m.AssignSlice: assign,
    m.SlicesReturned: returned,
    m.RecallSlices: recall,
    m.CancelTasks: cancel,
    m.WorkerHello: hello,
    m.HostReport: host_report,
    m.ProcessEnded: process_ended,
    m.DefineFunction: lambda rng: m.DefineFunction(rng.choice((b"f" * 16, b"g" * 16)), "f", rng.randbytes(5)),
}
