"""Serializers of a user's own: what they see, how they travel, what their failures are. Real workers."""

import json
import pickle
import zlib

import cloudpickle
import pytest

from scaler import Client, SchedulerClusterCombo, Serializer
from scaler.client.serializer.default import DefaultSerializer
from scaler.utility.exceptions import DeserializeObjectError, ResultNotSerializableError
from tests.integration.test_cluster import nothing_left

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def address():
    with nothing_left() as note, SchedulerClusterCombo(n_workers=1, logging_level="WARNING") as combo:
        yield combo.get_address()
        note()


said = []  # in each process its own


class Telling(Serializer):
    """Tells each thing that it serializes and restores, here and in the worker."""

    @staticmethod
    def serialize(obj):
        said.append(obj)
        return cloudpickle.dumps(obj) if callable(obj) else b"json" + json.dumps(obj).encode()

    @staticmethod
    def deserialize(payload):
        data = bytes(memoryview(payload))
        obj = json.loads(data[4:]) if data.startswith(b"json") else pickle.loads(data)
        said.append(obj)
        return obj


class Keyed(Serializer):
    """Has a state, and methods that are bound to it."""

    def __init__(self, key):
        self.key = key

    def serialize(self, obj):
        return bytes(byte ^ self.key for byte in cloudpickle.dumps(obj))

    def deserialize(self, payload):
        return cloudpickle.loads(bytes(byte ^ self.key for byte in memoryview(payload)))


def total(*numbers, scale=1):
    return {"total": scale * sum(numbers)}


def take_said():
    """Return what was said in this process since the last time, functions by their names."""
    taken = [item.__name__ if callable(item) else item for item in said]
    said.clear()
    return taken


def test_function_each_argument_and_each_result_come_by_themselves(address):
    with Client(address) as usual, Client(address, serializer=Telling()) as client:
        usual.submit(take_said).result()
        take_said()
        assert client.submit(total, 1, 2, scale=3).result() == {"total": 9}
        assert take_said() == ["total", 1, 2, 3, {"total": 9}]
        assert usual.submit(take_said).result() == ["total", 1, 2, 3, {"total": 9}]
        assert client.starmap(total, [(1, 2), (3,)]) == [{"total": 3}, {"total": 3}]
        assert take_said() == ["total", 1, 2, 3, {"total": 3}, {"total": 3}]
        assert usual.submit(take_said).result()[-5:] == [1, 2, {"total": 3}, 3, {"total": 3}]


def test_values_that_look_alike_are_told_apart_by_nobody_else(address):
    """JSON has no tuples and no whole-number keys: so nothing of ours was used for the values."""
    with Client(address, serializer=Telling()) as client:
        assert client.submit(total, 1).result() == {"total": 1}
        assert client.submit(lambda pair: pair, (1, {2: 3})).result() == [1, {"2": 3}]
        assert client.map(lambda pair: [type(pair).__name__], iter([(1, 2), (3, 4)])) == [["list"]] * 2
        reference = client.send_object((1, 2))
        assert client.submit(lambda sent: [type(sent).__name__], reference).result() == ["list"]
        inner = client.submit(lambda: (1, 2))
        assert client.submit(lambda got: [type(got).__name__], inner).result() == ["list"]
        graph = {"pair": (1, 2), "kind": (lambda pair: type(pair).__name__, "pair")}
        assert client.get(graph, ["kind"]) == {"kind": "list"}


def test_an_instance_travels_with_its_state_by_cloudpickle(address):
    class Local(Keyed):
        pass

    for serializer in (Keyed(7), Local(255)):
        with Client(address, serializer=serializer) as client:
            assert client.submit(total, 1, 2).result() == {"total": 3}
            assert client.map(total, [1, 2]) == [{"total": 1}, {"total": 2}]


def test_a_payload_is_bytes_like_whatever_its_size(address):
    class Packed(Serializer):
        @staticmethod
        def serialize(obj):
            return zlib.compress(cloudpickle.dumps(obj), 0)

        @staticmethod
        def deserialize(payload):
            return pickle.loads(zlib.decompress(payload))  # takes whatever has bytes

    with Client(address, serializer=Packed()) as client:
        for size in (1, 1000, 100_000, 3_000_000):
            assert client.submit(lambda text: text + b"!", bytes(size)).result() == bytes(size) + b"!"
        assert client.map(len, [b"", bytes(100_000), bytes(10)]) == [0, 100_000, 10]


def test_failures_of_a_serializer_are_those_of_the_task(address):
    with Client(address, serializer=Telling()) as client:
        with pytest.raises(TypeError, match="not JSON serializable"):
            client.submit(total, b"bytes")
        with pytest.raises(ResultNotSerializableError, match="not JSON serializable"):
            client.submit(lambda: b"bytes").result()
        assert client.submit(total, 1).result() == {"total": 1}


class OnlyHere(Telling):
    def __reduce__(self):
        return json.loads, ("no serializer",)


def test_a_serializer_that_cannot_be_restored_is_told_with_its_traceback(address):
    with Client(address, serializer=OnlyHere()) as client:
        error = client.submit(total, 1).exception()
        assert type(error) is DeserializeObjectError
        assert "JSONDecodeError" in str(error)


def test_the_default_is_cloudpickle_with_the_highest_protocol():
    offset = 5
    data = DefaultSerializer.serialize(lambda value: value + offset)
    assert data[:2] == b"\x80" + bytes([pickle.HIGHEST_PROTOCOL])
    assert DefaultSerializer.deserialize(memoryview(bytearray(data)))(2) == 7
    assert isinstance(DefaultSerializer(), Serializer)


def test_serializers_are_abstract():
    class Half(Serializer):
        @staticmethod
        def serialize(obj):
            return bytes(obj)

    for kind in (Serializer, Half):
        with pytest.raises(TypeError, match="abstract"):
            kind()
