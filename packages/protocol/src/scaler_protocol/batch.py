"""The layout of batches and results: columns, blocks, runs. Knows sizes and order, never what the bytes mean.

A *block* is the bytes of the arguments of one or more consecutive tasks; a *run* those of the outcomes of some.
Columns are arrays of native little-endian numbers: `U32` 4 bytes, `U64` 8, `F64` 8, `U8` 1 byte a number.
"""

import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import Any, Final, Literal

from scaler_protocol.errors import ProtocolError
from scaler_protocol.messages import AssignSlice, SubmitBatch, TaskResults
from scaler_protocol.storage_messages import MAX_NAME_BYTES

U8: Final = "B"
U32: Final = "I"
U64: Final = "Q"
F64: Final = "d"
NumberCode = Literal["B", "I", "Q", "d"]
MAX_BATCH_TASKS = 4096
MAX_BATCH_BYTES = 1 << 20
"""A batch is closed at this many tasks or bytes, so that none blocks the others; one value may be more."""

MAX_INLINE_BYTES = 16 << 20
"""The largest argument list or result that travels inside a message."""

STORED_BYTES = 64 << 10
"""Values of so many bytes and more go to the object storage, where there is one."""

if sys.byteorder != "little":  # the columns are the machine's own numbers
    raise ImportError("Scaler's wire format needs a little-endian machine")


class Encoding(IntEnum):
    """How a block holds arguments."""

    CALL = 0
    """A block is one task: a pickled `(args, kwargs)`."""
    VALUES = 1
    """A block is several tasks: a pickled list, each item the only argument of its task."""
    TUPLES = 2
    """A block is several tasks: a pickled list of argument tuples."""
    LINKED = 3
    """A block is one task whose arguments are partly elsewhere: a pickled `Linked` of the client package."""


class Status(IntEnum):
    """How the tasks of a run ended, and what the run's bytes are."""

    VALUE = 0
    """Success; one task: its pickled result."""
    VALUES = 1
    """Success; several tasks: a pickled list of their results."""
    EXCEPTION = 2
    """The task raised: a pickled `Failure` of the client package's serializer."""
    EXITED = 3
    """The task left by SystemExit or KeyboardInterrupt: UTF-8 text. The worker goes on."""
    PROCESSOR_DIED = 4
    """The task ended its process: UTF-8 text as `died_text` has it."""
    WORKER_DIED = 5
    """The retry limit is passed: UTF-8 text, a line an attempt."""
    NOT_DESERIALIZABLE = 6
    """Function or arguments cannot be restored: UTF-8 text with the remote traceback."""
    RESULT_NOT_SERIALIZABLE = 7
    """UTF-8 text: repr of the result, newline, remote traceback."""
    EXCEPTION_NOT_SERIALIZABLE = 8
    """UTF-8 text: repr of the exception, newline, remote traceback."""
    TOO_LARGE = 9
    """UTF-8 text: the size, and what to do."""
    CANCELLED = 10
    TIMED_OUT = 11
    """UTF-8 text naming the limit."""
    REFUSED = 12
    """The scheduler did not accept the task: UTF-8 text."""
    STORED = 13
    """Success; one task: where its result lies in the object storage, as `pack_stored` has it."""
    DEPENDENCY_OVER = 14
    """No outcome: a result that the task waits for has been delivered. Submit it again, with that result."""


MADE_HERE: Final = 255
"""Among the dependency statuses of a slice: the result of one of its own tasks, the number of which is the position."""


def column(code: NumberCode, numbers: Sequence[int] | Sequence[float]) -> bytes:
    """Return the numbers as a column of the type `code`."""
    return array(code, numbers).tobytes()


def numbers(code: NumberCode, data: bytes) -> "memoryview[Any]":
    """Return a column as a sequence of numbers; `ProtocolError` if its length is not a multiple of the item size."""
    view = memoryview(data)
    try:
        return view.cast(code)
    except TypeError as error:
        raise ProtocolError(f"a column of {len(data)} bytes is no array of {code!r}") from error


def offsets(sizes: Sequence[int], first: int = 0) -> list[int]:
    """Return where each block starts, from `first` on, and the end of the last: one more number than `sizes`."""
    return list(accumulate(sizes, initial=first))


def covering(starts: Sequence[int], start: int, stop: int) -> tuple[int, int]:
    """Return the range of blocks [low, high) that hold tasks [start, stop).

    `starts[i]` is the first task of block i; its last item is the number of tasks.
    """
    return bisect_right(starts, start) - 1, bisect_right(starts, stop - 1)


def pack_stored(size: int, key: bytes) -> bytes:
    """Return the bytes of a run of `Status.STORED`: an object of `size` bytes under a key."""
    return _SIZE.pack(size) + key


def unpack_stored(run: bytes | memoryview) -> tuple[int, bytes]:
    """Return the size and the key that `pack_stored` was given; `ProtocolError` for what cannot be such a run."""
    if not 1 <= len(run) - _SIZE.size <= MAX_NAME_BYTES:
        raise ProtocolError(f"{len(run)} bytes are no size and key of a stored object")
    return _SIZE.unpack_from(run)[0], bytes(run[_SIZE.size :])


def awaited_runs(assigned: AssignSlice) -> list[memoryview]:
    """Return the run that holds each result which the tasks of a slice waited for, in the order of the columns."""
    payload, sizes = memoryview(assigned.payload), numbers(U32, assigned.dependency_sizes)
    ends = offsets(sizes)
    first = len(payload) - ends[-1]
    runs = [payload[first + low : first + high] for low, high in pairwise(ends)]
    for index, repeated in enumerate(numbers(U32, assigned.dependency_repeats)):
        if repeated:
            runs[index] = runs[repeated - 1]
    return runs


def died_text(how: str, detail: str, stderr_tail: str = "") -> str:
    """Return the text of `Status.PROCESSOR_DIED`: `how` is its first line, `exit_code=<n>` or `signal_name=<SIGNAME>`.

    Then comes what happened; before that, if the process wrote something to its standard error, a line
    `stderr_tail=<n>`: the last n characters of the text are the last that it wrote.
    """
    return f"{how}\n{f'{_TAIL}{len(stderr_tail)}{chr(10)}' if stderr_tail else ''}{detail}{stderr_tail}"


def split_died_text(text: str) -> tuple[str, str]:
    """Return the text without the last that the process wrote, and that."""
    how, _, rest = text.partition("\n")
    header, _, rest = rest.partition("\n")
    length = header.removeprefix(_TAIL)
    if length == header or not (length.isascii() and length.isdigit()):
        return text, ""
    end = max(0, len(rest) - int(length))
    return f"{how}\n{rest[:end]}", rest[end:]


def check_batch(batch: SubmitBatch) -> None:
    """Raise `ProtocolError` unless the blocks hold exactly the batch's tasks and exactly the payload."""
    count = _checked_blocks(batch, len(batch.payload))
    if count != batch.count:
        raise ProtocolError(f"blocks with {count} tasks in a batch of {batch.count}")
    if batch.finished:
        _check_finished(batch)
    if batch.dependency_counts:
        _check_dependencies(batch, batch.count)
    elif batch.dependency_batches:
        raise ProtocolError("dependencies of no task")


def check_slice(assigned: AssignSlice) -> None:
    """Raise `ProtocolError` unless the blocks hold the tasks of the slice, and the payload them and what they need."""
    awaited_size = sum(numbers(U32, assigned.dependency_sizes)) if assigned.dependency_sizes else 0
    count = _checked_blocks(assigned, len(assigned.payload) - awaited_size)
    if not assigned.first <= assigned.start < assigned.stop <= assigned.first + count:
        raise ProtocolError(f"slice [{assigned.start}, {assigned.stop}) outside its blocks")
    if assigned.dependency_counts:
        _check_dependencies(assigned, count)
    elif assigned.dependency_sizes:
        raise ProtocolError("dependencies of no task")


def check_results(results: TaskResults) -> None:
    """Raise `ProtocolError` unless all columns have one length and the runs fill the payload."""
    statuses = results.statuses
    narrow, wide = 4 * len(statuses), 8 * len(statuses)  # bytes of a column of U32, and of U64 or F64
    if (
        not len(results.starts) == len(results.counts) == len(results.sizes) == narrow
        or len(results.durations) != wide
        or (results.memory and len(results.memory) != wide)
        or (results.cpu and len(results.cpu) != wide)
    ):
        raise ProtocolError(f"result columns that do not fit {len(statuses)} statuses")
    counts, size = numbers(U32, results.counts), sum(numbers(U32, results.sizes))
    if not statuses or not all(counts):
        raise ProtocolError(f"{len(statuses)} runs of results, one of them of no task")
    if size != len(results.payload):
        raise ProtocolError(f"runs of {size} bytes in a payload of {len(results.payload)}")
    if max(statuses) > _LAST_STATUS:
        raise ProtocolError(f"result status {max(statuses)}")
    for status, n in zip(statuses, counts, strict=True):
        if n > 1 and status in _ALONE:
            raise ProtocolError(f"one result for {n} tasks")


def _checked_blocks(batch: SubmitBatch | AssignSlice, size: int) -> int:
    """Return how many tasks the blocks hold; `ProtocolError` if they are not sound, or not of `size` bytes."""
    counts, blocks_size = numbers(U32, batch.block_counts), sum(numbers(U32, batch.block_sizes))
    tasks = sum(counts)
    if not tasks or not all(counts) or len(batch.block_counts) != len(batch.block_sizes):
        raise ProtocolError(f"{len(counts)} blocks with {tasks} tasks")
    if blocks_size != size:
        raise ProtocolError(f"blocks of {blocks_size} bytes in a payload of {size}")
    if batch.encoding not in _ENCODINGS or (batch.encoding in SINGLE and len(counts) != tasks):
        raise ProtocolError(f"encoding {batch.encoding} with {len(counts)} blocks for {tasks} tasks")
    return tasks


def _check_finished(batch: SubmitBatch) -> None:
    edges = numbers(U32, batch.finished)
    if len(edges) % 2 or any(low > high for low, high in pairwise((0, *edges, batch.count))):
        raise ProtocolError(f"finished tasks {list(edges)} of a batch of {batch.count}")


def _check_dependencies(batch: SubmitBatch | AssignSlice, count: int) -> None:
    counts = numbers(U32, batch.dependency_counts)
    if batch.encoding != Encoding.LINKED or len(counts) != count:
        raise ProtocolError(f"dependencies of {len(counts)} tasks in a batch of {count}, encoding {batch.encoding}")
    if isinstance(batch, SubmitBatch):
        lengths = {len(numbers(U64, batch.dependency_batches)), len(numbers(U32, batch.dependency_tasks))}
    else:
        columns = numbers(U32, batch.dependency_positions), numbers(U32, batch.dependency_sizes)
        lengths = {len(batch.dependency_statuses), *map(len, columns)}
        if any(status not in RESULTS and status != MADE_HERE for status in batch.dependency_statuses):
            raise ProtocolError("a dependency that is no result")
        if batch.dependency_repeats:
            lengths.add(len(numbers(U32, batch.dependency_repeats)))
            _check_repeats(batch)
    if lengths != {sum(counts)}:
        raise ProtocolError(f"columns of lengths {sorted(lengths)} for {sum(counts)} dependencies")
    if isinstance(batch, AssignSlice) and MADE_HERE in batch.dependency_statuses:
        _check_made_here(batch)


def _check_made_here(assigned: AssignSlice) -> None:
    positions, sizes = numbers(U32, assigned.dependency_positions), numbers(U32, assigned.dependency_sizes)
    ends = offsets(numbers(U32, assigned.dependency_counts))
    for task, (low, high) in enumerate(pairwise(ends), assigned.first):
        for edge in range(low, high):
            is_here = assigned.dependency_statuses[edge] == MADE_HERE
            if is_here and (sizes[edge] or not assigned.start <= positions[edge] < task):
                raise ProtocolError(f"task {task} of a slice needs task {positions[edge]}")


def _check_repeats(assigned: AssignSlice) -> None:
    repeats, sizes = numbers(U32, assigned.dependency_repeats), numbers(U32, assigned.dependency_sizes)
    for index, (repeated, size) in enumerate(zip(repeats, sizes, strict=False)):
        if repeated and (size or repeated > index or repeats[repeated - 1]):
            raise ProtocolError(f"dependency {index} repeats {repeated}")


SINGLE = frozenset((Encoding.CALL, Encoding.LINKED))
"""Encodings with a block for each task."""

RESULTS = frozenset((Status.VALUE, Status.VALUES, Status.STORED))
"""Statuses of success."""

_SIZE = struct.Struct("<Q")
_TAIL = "stderr_tail="
_ENCODINGS = frozenset(Encoding)

_LAST_STATUS = int(max(Status))
_ALONE = frozenset((Status.VALUE, Status.STORED))  # a run is one task
