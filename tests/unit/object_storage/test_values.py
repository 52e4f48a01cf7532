"""Values: pickled once, large buffers left where they are, restored as views."""

import ctypes
import pickle
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler_object_storage.values import (
    ALIGNMENT,
    MIN_BUFFER_BYTES,
    Parts,
    dump_parts,
    dump_value,
    load_parts,
    load_value,
    places_of_bytes,
)

BUFFERS = st.lists(st.binary(max_size=200), max_size=5)


class Array:
    """What an array of a library does: it offers its memory to pickle protocol 5."""

    def __init__(self, memory):
        self.memory = memory

    def __reduce_ex__(self, protocol):
        return Array, (pickle.PickleBuffer(self.memory),)


def address(buffer):
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def stored(parts):
    return memoryview(parts.cut(0, parts.size))


@given(st.lists(st.binary(max_size=50), max_size=4), BUFFERS)
def test_stream_and_buffers_come_back(stream, buffers):
    view = stored(dump_parts(stream, buffers))

    restored, views = load_parts(view)

    assert restored == b"".join(stream)
    assert views == buffers


@given(st.binary(max_size=50), BUFFERS)
def test_buffers_are_aligned(stream, buffers):
    value = bytearray(stored(dump_parts([stream], buffers)))

    _, views = load_parts(memoryview(value))

    assert all((address(view) - address(value)) % ALIGNMENT == 0 for view in views if view.nbytes)


@given(BUFFERS, st.integers(0, 1200), st.integers(0, 1200))
def test_any_piece_can_be_cut(pieces, offset, length):
    parts = Parts(pieces)

    assert parts.size == sum(map(len, pieces))
    assert parts.cut(offset, length) == b"".join(pieces)[offset : offset + length]


@given(st.binary(max_size=100))
def test_other_bytes_are_no_value(data):
    try:
        stream, buffers = load_parts(memoryview(data))
    except ValueError:
        return
    assert stream.nbytes + sum(buffer.nbytes for buffer in buffers) <= len(data)


@pytest.mark.parametrize("count", [2**63, 2**40, 100])
def test_a_value_of_more_buffers_than_bytes_is_none(count):
    with pytest.raises(ValueError, match="buffers"):
        load_parts(memoryview(struct.pack("<QQ", count, 0) + bytes(40)))


def test_a_large_array_comes_back_as_a_view_that_cannot_be_written():
    memory = bytearray(range(256)) * 1024
    view = stored(dump_value({"array": Array(memory)}))

    array = load_value(view)["array"]

    assert array.memory == memory
    assert array.memory.readonly
    assert array.memory.obj is view.obj


def test_the_parts_refer_to_the_array():
    memory = bytearray(MIN_BUFFER_BYTES)

    parts = dump_value(Array(memory))
    memory[0] = 7

    assert load_value(stored(parts)).memory[0] == 7


def test_large_bytes_are_not_copied():
    value = bytes(1 << 20)

    parts = dump_value([value, 1])

    assert any(piece is value for piece in parts.pieces)
    assert load_value(stored(parts)) == [value, 1]


def test_small_buffers_stay_in_the_stream():
    view = stored(dump_value([Array(b"small")] * 3))

    assert load_parts(view)[1] == []
    assert [bytes(array.memory) for array in load_value(view)] == [b"small"] * 3


def test_a_buffer_that_is_not_contiguous_raises_what_pickling_raises():
    with pytest.raises(pickle.PicklingError):
        dump_value(Array(memoryview(bytearray(20000))[::2]))


def test_bytes_come_back_as_bytes_and_their_places_are_known_beforehand():
    large = bytes(range(256)) * 40
    view = stored(dump_parts([b"stream"], [memoryview(large), memoryview(b"other")]))

    assert load_parts(view) == (b"stream", [large, b"other"])
    assert [type(buffer) for buffer in load_parts(view).buffers] == [bytes, bytes]

    places = places_of_bytes(bytes(view[:100]), view.nbytes)
    assert [bytes(view[start : start + size]) for start, size in places] == [b"stream", large, b"other"]


@pytest.mark.parametrize(
    ("stream", "buffers"),
    [
        (b"no buffers", []),
        (b"no bytes object", [memoryview(bytearray(b"x"))]),
        (b"a part of one", [memoryview(b"whole")[1:]]),
        (b"of both kinds", [memoryview(b"x"), memoryview(bytearray(b"x"))]),
        (b"a long stream" * 100, [memoryview(b"x")]),
    ],
    ids=lambda stream: stream[:15].decode() if isinstance(stream, bytes) else "",
)
def test_other_values_are_not_read_in_pieces(stream, buffers):
    view = stored(dump_parts([stream], buffers))
    assert places_of_bytes(bytes(view[:100]), view.nbytes) is None
    assert load_parts(view) == (stream, buffers)


@given(st.binary(max_size=100), st.integers(0, 1 << 40))
def test_places_are_within_the_value_whatever_its_first_bytes_are(first, total):
    places = places_of_bytes(first, total) or []
    assert all(start >= 0 and start + size <= total for start, size in places)
