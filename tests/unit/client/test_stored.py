"""Values that may be too large for a message."""

import pickle
import threading

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler_client.serializer import DefaultSerializer
from scaler_client.stored import dump_apart, dump_call_apart, load_stored, whole_parts
from scaler_object_storage.values import Parts, Pieces, load_parts, load_value
from scaler_protocol.batch import STORED_BYTES
from tests.unit.client import shelf

DEFAULT = DefaultSerializer()
LARGE = bytes(STORED_BYTES)


class Raw(DefaultSerializer):
    """A custom one that stores bytes as they are."""

    @staticmethod
    def serialize(obj):
        return obj

    @staticmethod
    def deserialize(payload):
        return payload


def whole(parts):
    return memoryview(parts.cut(0, parts.size))


def belongs_to_main():
    made = type("Made", (), {"__module__": "__main__", "__reduce__": lambda self: (type(self), ())})
    return made()


@given(st.recursive(st.integers() | st.binary(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_small_values_are_bytes_as_ever(value):
    assert pickle.loads(dump_apart(value, DEFAULT)) == value


@pytest.mark.parametrize(
    "value",
    [
        LARGE,
        bytearray(LARGE),
        "x" * STORED_BYTES,
        [LARGE, 1, LARGE],
        {"a": LARGE},
        [[bytes(1000)] for _ in range(200)],
        list(range(50_000)),
        [bytes([n % 256]) * 70_000 for n in range(20)],
    ],
    ids=lambda value: type(value).__name__,
)
def test_large_values_come_back(value):
    parts = dump_apart(value, DEFAULT)
    assert isinstance(parts, Parts)
    assert load_stored(whole(parts), DEFAULT) == value


def test_large_bytes_and_arrays_are_not_copied():
    array = np.arange(STORED_BYTES, dtype=np.uint8)
    parts = dump_apart({"array": array, "bytes": LARGE}, DEFAULT)
    assert any(piece is LARGE for piece in parts.pieces)
    assert any(np.shares_memory(array, np.frombuffer(piece, np.uint8)) for piece in parts.pieces if len(piece) > 100)


def test_an_array_comes_back_as_a_view_that_nobody_can_write():
    view = whole(dump_apart(np.arange(STORED_BYTES, dtype=np.uint8), DEFAULT))
    array = load_stored(view, DEFAULT)
    assert not array.flags.writeable
    assert np.shares_memory(array, np.frombuffer(view, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_small_arrays_can_be_written_as_ever():
    array = pickle.loads(dump_apart(np.arange(10), DEFAULT))
    array[0] = 7
    assert array[0] == 7


@pytest.mark.parametrize("large", [LARGE, np.zeros(STORED_BYTES), list(range(50_000))], ids=["bytes", "array", "list"])
def test_what_belongs_to_main_is_pickled_by_value(large):
    parts = dump_apart([belongs_to_main(), large], DEFAULT)
    assert b"cloudpickle" in bytes(whole(parts))
    thing, back = load_stored(whole(parts), DEFAULT)
    assert type(thing).__name__ == "Made"
    assert np.array_equal(back, large)


def test_large_bytes_that_name_main_need_no_cloudpickle():
    parts = dump_apart([LARGE, b"__main__" * 10_000], DEFAULT)
    assert b"cloudpickle" not in bytes(whole(parts))


def test_modules_that_are_pickled_by_value_are():
    cloudpickle.register_pickle_by_value(shelf)
    try:
        parts = dump_apart([shelf.Shelf, LARGE], DEFAULT)
    finally:
        cloudpickle.unregister_pickle_by_value(shelf)
    assert b"cloudpickle" in bytes(whole(parts))


@pytest.mark.parametrize("large", [1, LARGE, np.zeros(STORED_BYTES)], ids=["small", "bytes", "array"])
def test_what_cannot_be_pickled_raises(large):
    with pytest.raises(TypeError, match="lock"):
        dump_apart([threading.Lock(), large], DEFAULT)


@pytest.mark.parametrize(
    "dumped", [dump_apart(LARGE, DEFAULT), dump_call_apart((LARGE, 1), {"k": LARGE + b"x"}, DEFAULT)]
)
def test_large_bytes_at_the_top_lie_apart_and_come_back_as_bytes(dumped):
    stream, buffers = load_parts(whole(dumped))
    assert len(stream) < 100
    assert [type(buffer) for buffer in buffers] in ([bytes], [bytes, bytes])

    value = load_stored(Pieces(stream, buffers), DEFAULT)

    assert value in (LARGE, ((LARGE, 1), {"k": LARGE + b"x"}))
    assert (value if type(value) is bytes else value[0][0]) is buffers[0]


@pytest.mark.parametrize("again", [LARGE, [LARGE], [[[LARGE]]], np.array([LARGE], object)])
def test_bytes_that_occur_twice_are_stored_once(again):
    parts = dump_call_apart((LARGE, again), {}, DEFAULT)
    assert parts.size < 1.5 * len(LARGE)
    (first, second), _ = load_stored(whole(parts), DEFAULT)
    while type(second) is not bytes:
        second = second[0]
    assert first is second
    assert first == LARGE


def test_calls():
    args, kwargs = (1, [2]), {"x": LARGE}
    parts = dump_call_apart(args, kwargs, DEFAULT)
    assert load_value(whole(parts)) == (args, kwargs)
    assert pickle.loads(dump_call_apart(args, {}, DEFAULT)) == (args, {})


def test_a_custom_serializers_bytes_are_stored_as_they_are():
    assert dump_apart(b"small", Raw()) == b"small"
    parts = dump_apart(LARGE, Raw())
    assert bytes(whole(parts)) == LARGE
    assert load_stored(whole(parts), Raw()) == LARGE


@pytest.mark.parametrize("serializer", [DEFAULT, Raw()])
def test_small_values_can_be_stored_too(serializer):
    assert load_stored(whole(whole_parts(b"small", serializer)), serializer) == b"small"
