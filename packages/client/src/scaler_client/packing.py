"""Arguments into blocks, blocks into batches of a bounded size. Knows no sockets and no futures.

What is large goes to the object storage (`linking.py`): only a link to it is in the block.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

from scaler_client.functions import check_size
from scaler_client.handles import Handle
from scaler_client.linking import LinkedCall, Linker
from scaler_client.serializer import dump_values, is_default, kinds_of_atoms
from scaler_client.waits import Waits
from scaler_protocol.batch import MAX_BATCH_BYTES, MAX_BATCH_TASKS, MAX_INLINE_BYTES, STORED_BYTES, U32, Encoding

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
    stored_bytes: int = 0
    """Of arguments that are in the object storage for these tasks alone."""
    handles: tuple[Handle, ...] = ()
    """Keep what the tasks need of the object storage."""
    waits: Waits | None = None
    """The calls, where one waits for results: they are packed when they are sent, and the columns here are empty."""

    @property
    def inline_bytes(self) -> int:
        """Bytes of the arguments in a message, as they count for credit."""
        return len(self.payload) if self.waits is None else self.waits.size

    @property
    def size(self) -> int:
        """Bytes of the arguments wherever they are."""
        return self.inline_bytes + self.stored_bytes


class Packer:
    """Collects blocks of one encoding."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self.count = 0
        self.size = 0
        self._counts = array(U32)
        self._blocks: list[bytes] = []
        self._stored_bytes = 0
        self._calls: list[LinkedCall] = []

    @property
    def is_full(self) -> bool:
        """Whether a batch should be closed now."""
        return self.count >= MAX_BATCH_TASKS or self.size >= MAX_BATCH_BYTES

    def put_call(self, block: bytes) -> None:
        """Add the arguments of one task, with `Encoding.CALL`."""
        self._put(block, 1)

    def put_linked(self, call: LinkedCall) -> None:
        """Add the arguments of one task, with `Encoding.LINKED`."""
        check_size(call.inline_bytes, "the arguments of a task")
        self._put(call.block, 1)
        self._calls.append(call)
        self._stored_bytes += call.stored_bytes
        self.size += call.size - len(call.block)

    def put_values(self, values: Sequence[object], limit: int | None = None) -> int:
        """Add atoms until the batch is full, or one takes `limit` bytes, and return how many were added."""
        begin = 0
        tasks = BLOCK_TASKS
        while begin < len(values) and not self.is_full:
            part = values[begin : begin + tasks]
            block = dump_values(part)
            if len(block) > BLOCK_BYTES and len(part) > 1:
                tasks = max(1, len(part) * BLOCK_BYTES // (2 * len(block)))
                continue
            if limit is not None and len(part) == 1 and len(block) >= limit:
                break
            self._put(block, len(part))
            begin += len(part)
        return begin

    def put_all(self, values: Sequence[object]) -> None:
        """Add atoms whose number and size are known to be bounded."""
        for begin in range(0, len(values), BLOCK_TASKS):
            part = values[begin : begin + BLOCK_TASKS]
            self._put(dump_values(part), len(part))

    def close(self) -> Packed:
        """Return what was collected, and let go of it."""
        calls, self._calls = self._calls, []
        if calls and any(call.sources for call in calls):
            return Packed(self.count, self.encoding, b"", b"", b"", self._stored_bytes, waits=Waits(calls))
        sizes = array(U32, map(len, self._blocks))
        return Packed(
            self.count,
            self.encoding,
            self._counts.tobytes(),
            sizes.tobytes(),
            b"".join(self._blocks),
            self._stored_bytes,
            tuple(handle for call in calls for handle in call.handles) if calls else (),
        )

    def _put(self, block: bytes, count: int) -> None:
        size = len(block)
        if size > MAX_INLINE_BYTES:
            check_size(size, "the arguments of a task")
        self._counts.append(count)
        self._blocks.append(block)
        self.count += count
        self.size += size


def pack_calls(calls: Sequence[tuple[Any, ...]], linker: Linker) -> Iterator[Packed]:
    """Return batches for calls with these positional arguments. Raises what `Linker.dump` raises."""
    if is_default(linker.serializer):
        values = list(chain.from_iterable(calls))
        kinds = kinds_of_atoms(values)
        if kinds is not None and not (linker.stores and _has_bulk(values, kinds)):
            if all(len(call) == 1 for call in calls):
                return _pack_atoms(Encoding.VALUES, values, linker)
            return _pack_atoms(Encoding.TUPLES, calls, linker)
    return _pack_each(calls, linker)


def pack_values(values: Sequence[Any], linker: Linker) -> Iterator[Packed]:
    """Return batches for calls with one argument each."""
    if is_default(linker.serializer):
        kinds = kinds_of_atoms(values)
        if kinds is not None and not (linker.stores and _has_bulk(values, kinds)):
            return _pack_atoms(Encoding.VALUES, values, linker)
    return _pack_each(((value,) for value in values), linker)


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
    """Return one batch of what `shared_encoding` allowed to share blocks, or of what `Linker.dump` gave."""
    packer = Packer(encoding)
    if encoding is Encoding.LINKED:
        for call in items:
            packer.put_linked(call)
    elif encoding is Encoding.CALL:
        for block in items:
            packer.put_call(block)
    else:
        packer.put_all(items)
    return packer.close()


_type_of: Callable[[object], type[object]] = type


def _has_bulk(values: Sequence[object], kinds: set[type[object]]) -> bool:
    """Whether there is a text for the object storage among values of these types (in tuples it is found later)."""
    if kinds.isdisjoint(_TEXTS):
        return False
    if kinds <= _TEXTS:
        return max(map(len, cast("Sequence[str | bytes]", values))) >= STORED_BYTES
    return any(len(value) >= STORED_BYTES for value in values if isinstance(value, (str, bytes)))


_TEXTS: frozenset[type] = frozenset((str, bytes))


def _pack_atoms(encoding: Encoding, values: Sequence[Any], linker: Linker) -> Iterator[Packed]:
    limit = STORED_BYTES if linker.stores else None
    done = 0
    while done < len(values):
        packer = Packer(encoding)
        done += packer.put_values(values[done:] if done else values, limit)
        if packer.count:
            yield packer.close()
        if done < len(values) and not packer.is_full:  # the next one is large
            value = values[done]
            yield from _pack_each([value if encoding is Encoding.TUPLES else (value,)], linker)
            done += 1


def _pack_each(calls: Iterable[tuple[Any, ...]], linker: Linker) -> Iterator[Packed]:
    packer = Packer(Encoding.CALL)
    for call in calls:
        item = linker.dump(call, {})
        encoding = Encoding.CALL if isinstance(item, bytes) else Encoding.LINKED
        if encoding is not packer.encoding:
            if packer.count:
                yield packer.close()
            packer = Packer(encoding)
        if isinstance(item, bytes):
            packer.put_call(item)
        else:
            packer.put_linked(item)
        del item  # which keeps what it stored
        if packer.is_full:
            yield packer.close()
            packer = Packer(encoding)
    if packer.count:
        yield packer.close()
