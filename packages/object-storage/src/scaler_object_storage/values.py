"""How one value lies in memory: a pickle stream and the buffers that pickle protocol 5 (PEP 574) leaves out of it.

    count of buffers, bytes of the stream, bytes of each buffer      (unsigned 64-bit, little endian)
    the stream
    each buffer, its start a multiple of 64 bytes

Large arrays are neither copied into the stream nor out of it: they come back as read-only views. A buffer that is a
`bytes` object, which the highest bit of its size says, becomes one again: who only needs such can read them from the
file right into new ones.
"""

import pickle
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

ALIGNMENT = 64
"""Of every buffer, counted from the start of the value: a cache line, and enough for any vector instruction."""

MIN_BUFFER_BYTES = 4096
"""Smaller buffers stay in the stream, which is cheaper than to keep them apart."""

_HEAD = struct.Struct("<QQ")
_IS_BYTES = 1 << 63

Buffer = bytes | bytearray | memoryview


class Pieces(NamedTuple):
    """A value taken apart."""

    stream: Buffer
    buffers: list[Buffer]


class Parts:
    """A value ready to be written: its pieces in order, and how many bytes they have together."""

    __slots__ = ("_starts", "pieces", "size")

    def __init__(self, pieces: Sequence[Buffer]) -> None:
        self.pieces = pieces
        self._starts = list(accumulate(map(_size, pieces), initial=0))
        self.size = self._starts[-1]

    @classmethod
    def of(cls, *pieces: Buffer) -> "Parts":
        """Take bytes of any kind as they are."""
        return cls(pieces)

    def cut(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on, fewer only at the end."""
        return b"".join(self._covering(offset, min(offset + length, self.size)))

    def _covering(self, start: int, stop: int) -> Iterator[memoryview]:
        index = bisect_right(self._starts, start) - 1
        while start < stop:
            at = self._starts[index]
            piece = memoryview(self.pieces[index]).cast("B")[start - at : stop - at]
            yield piece
            start += piece.nbytes
            index += 1


class Pickler(Protocol):
    """What `pickle.Pickler` and `cloudpickle.Pickler` make."""

    def dump(self, obj: Any, /) -> Any:  # noqa: ANN401 - users' values are of any type
        """Write the pickle of an object."""
        ...


MakePickler = Callable[..., Pickler]
"""Called as `make(file, protocol=5, buffer_callback=function)`."""


def dump_value(value: object, make_pickler: MakePickler = pickle.Pickler) -> Parts:
    """Pickle a value without copying what is large in it: the parts refer to it, so write them before it changes.

    Raises whatever pickling raises.
    """
    stream = _Stream()
    buffers: list[memoryview] = []

    def keeps_in_stream(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < MIN_BUFFER_BYTES:
            return True
        buffers.append(raw)
        return False

    make_pickler(stream, protocol=5, buffer_callback=keeps_in_stream).dump(value)
    return dump_parts(stream.pieces, buffers)


def load_value(stored: memoryview | Pieces, load: Callable[..., Any] = pickle.loads) -> Any:  # noqa: ANN401 - a user's
    """Restore a value; arrays in it are views of `stored`. Raises what unpickling raises, `ValueError` for no value."""
    stream, buffers = load_parts(stored) if isinstance(stored, memoryview) else stored
    return load(stream, buffers=buffers)


def dump_parts(stream: Sequence[Buffer], buffers: Sequence[Buffer]) -> Parts:
    """Lay out a pickle stream, given in pieces, and its buffers."""
    sizes = [_size(buffer) for buffer in buffers]
    marked = [size | _IS_BYTES if _is_bytes(buffer) else size for size, buffer in zip(sizes, buffers, strict=True)]
    stream_size = sum(_size(piece) for piece in stream)
    pieces: list[Buffer] = [_HEAD.pack(len(sizes), stream_size) + struct.pack(f"<{len(sizes)}Q", *marked), *stream]
    at = _size(pieces[0]) + stream_size
    for size, buffer in zip(sizes, buffers, strict=True):
        pieces += (bytes(-at % ALIGNMENT), buffer)
        at += -at % ALIGNMENT + size
    return Parts(pieces)


def load_parts(view: memoryview) -> Pieces:
    """Return the pickle stream and its buffers, only `bytes` objects copied.

    Raises `ValueError` for lengths that contradict.
    """
    if view.nbytes < _HEAD.size:
        raise ValueError(f"{view.nbytes} bytes are no stored value")
    count, stream_size = _HEAD.unpack_from(view)
    at = _HEAD.size + 8 * count
    if at > view.nbytes:
        raise ValueError(f"a stored value of {view.nbytes} bytes cannot have {count} buffers")
    sizes = struct.unpack_from(f"<{count}Q", view, _HEAD.size)
    places = [(at, stream_size), *_places(at + stream_size, sizes)]
    end = sum(places[-1])
    if end != view.nbytes:
        raise ValueError(f"a stored value of {view.nbytes} bytes that should have {end}")
    stream, *parts = [view[start : start + size] for start, size in places]
    return Pieces(stream, [bytes(part) if mark & _IS_BYTES else part for part, mark in zip(parts, sizes, strict=True)])


def places_of_bytes(first: bytes, total: int) -> list[tuple[int, int]] | None:
    """Return where stream and buffers are, as (start, size), of a value of `total` bytes that begins with `first`.

    None unless there are buffers, all `bytes` objects, and what lies before them is in `first`.
    """
    if len(first) < _HEAD.size:
        return None
    count, stream_size = _HEAD.unpack_from(first)
    at = _HEAD.size + 8 * count
    if not count or at + stream_size > len(first):
        return None
    sizes = struct.unpack_from(f"<{count}Q", first, _HEAD.size)
    places = [(at, stream_size), *_places(at + stream_size, sizes)]
    return places if all(size & _IS_BYTES for size in sizes) and sum(places[-1]) == total else None


def _places(at: int, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (start, size) of each buffer; they begin after `at`."""
    for size in sizes:
        at += -at % ALIGNMENT
        yield at, size & ~_IS_BYTES
        at += size & ~_IS_BYTES


class _Stream:
    """The file of a pickler. Large `bytes` objects reach it by themselves, uncopied."""

    def __init__(self) -> None:
        self.pieces: list[Buffer] = []

    def write(self, piece: Buffer, /) -> int:
        self.pieces.append(piece)
        return len(piece)


def _is_bytes(buffer: Buffer) -> bool:
    """Whether it is all of the memory of a `bytes` object."""
    return isinstance(buffer, memoryview) and type(buffer.obj) is bytes and buffer.nbytes == len(buffer.obj)


def _size(buffer: Buffer) -> int:
    return buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
