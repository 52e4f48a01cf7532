"""Arguments into blocks, blocks into batches of a bounded size. Knows no sockets and no futures.

A value of more than 64 KiB will travel as a reference once there is an object storage: `Packer._put` is the place.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from scaler_client.functions import check_size
from scaler_client.serializer import Serializer, are_atoms, dump_call, dump_values, is_default
from scaler_protocol.batch import MAX_BATCH_BYTES, MAX_BATCH_TASKS, U32, Encoding

BLOCK_TASKS = 64
BLOCK_BYTES = 16 << 10
"""About the most that a block of several tasks takes: the whole block goes to each worker that runs a part of it."""

SHARED_TEXT_BYTES = 64
SHARED_INT = 1 << 63
SHARED_ARGUMENTS = 4
"""Single submits with more than this travel by themselves, so that the size of a batch is known beforehand."""


@dataclass(slots=True, eq=False)
class Packed:
    """Arguments of `count` tasks as `SubmitBatch` has them."""

    count: int
    encoding: Encoding
    block_counts: bytes
    block_sizes: bytes
    payload: bytes


class Packer:
    """Collects blocks of one encoding."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self.count = 0
        self.size = 0
        self._counts = array(U32)
        self._blocks: list[bytes] = []

    @property
    def is_full(self) -> bool:
        """Whether a batch should be closed now."""
        return self.count >= MAX_BATCH_TASKS or self.size >= MAX_BATCH_BYTES

    def put_call(self, block: bytes) -> None:
        """Add the arguments of one task, with `Encoding.CALL`."""
        self._put(block, 1)

    def put_values(self, values: Sequence[object]) -> int:
        """Add atoms until the batch is full, and return how many that were."""
        begin = 0
        tasks = BLOCK_TASKS
        while begin < len(values) and not self.is_full:
            part = values[begin : begin + tasks]
            block = dump_values(part)
            if len(block) > BLOCK_BYTES and len(part) > 1:
                tasks = max(1, len(part) * BLOCK_BYTES // (2 * len(block)))
                continue
            self._put(block, len(part))
            begin += len(part)
        return begin

    def put_all(self, values: Sequence[object]) -> None:
        """Add atoms whose number and size are known to be bounded."""
        for begin in range(0, len(values), BLOCK_TASKS):
            part = values[begin : begin + BLOCK_TASKS]
            self._put(dump_values(part), len(part))

    def close(self) -> Packed:
        """Return what was collected."""
        sizes = array(U32, map(len, self._blocks))
        return Packed(self.count, self.encoding, self._counts.tobytes(), sizes.tobytes(), b"".join(self._blocks))

    def _put(self, block: bytes, count: int) -> None:
        check_size(len(block), "the arguments of a task")
        self._counts.append(count)
        self._blocks.append(block)
        self.count += count
        self.size += len(block)


def pack_calls(calls: Sequence[tuple[Any, ...]], serializer: Serializer) -> Iterator[Packed]:
    """Return batches for calls with these positional arguments.

    Raises what pickling raises, and `ValueError` for arguments that are too large.
    """
    if is_default(serializer) and are_atoms(chain.from_iterable(calls)):
        if all(len(call) == 1 for call in calls):
            return _pack_atoms(Encoding.VALUES, [value for (value,) in calls])
        return _pack_atoms(Encoding.TUPLES, calls)
    return _pack_each(calls, serializer)


def pack_values(values: Sequence[Any], serializer: Serializer) -> Iterator[Packed]:
    """Return batches for calls with one argument each."""
    if is_default(serializer) and are_atoms(values):
        return _pack_atoms(Encoding.VALUES, values)
    return _pack_each(((value,) for value in values), serializer)


def shared_encoding(args: tuple[Any, ...]) -> Encoding:
    """Return how a single call may share a block with others: only short atoms do, else it is `Encoding.CALL`."""
    if len(args) > SHARED_ARGUMENTS:
        return Encoding.CALL
    for value in args:
        kind = _type_of(value)
        if (kind is int and -SHARED_INT <= value < SHARED_INT) or kind is float or kind is bool or value is None:
            continue
        if (kind is str or kind is bytes) and len(value) <= SHARED_TEXT_BYTES:
            continue
        return Encoding.CALL
    return Encoding.VALUES if len(args) == 1 else Encoding.TUPLES


def pack_shared(encoding: Encoding, items: Sequence[Any]) -> Packed:
    """Return one batch of what `shared_encoding` allowed to share blocks, or of pickled calls."""
    packer = Packer(encoding)
    if encoding is Encoding.CALL:
        for block in items:
            packer.put_call(block)
    else:
        packer.put_all(items)
    return packer.close()


_type_of: Callable[[object], type[object]] = type


def _pack_atoms(encoding: Encoding, values: Sequence[object]) -> Iterator[Packed]:
    done = 0
    while done < len(values):
        packer = Packer(encoding)
        done += packer.put_values(values[done:] if done else values)
        yield packer.close()


def _pack_each(calls: Iterable[tuple[Any, ...]], serializer: Serializer) -> Iterator[Packed]:
    packer = Packer(Encoding.CALL)
    for call in calls:
        packer.put_call(dump_call(call, {}, serializer))
        if packer.is_full:
            yield packer.close()
            packer = Packer(Encoding.CALL)
    if packer.count:
        yield packer.close()
