"""Blocks of calls whose arguments are partly elsewhere."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler_client.exceptions import ObjectStorageException
from scaler_client.linked import (
    Awaited,
    AwaitedLink,
    InlineLink,
    Linked,
    StoredLink,
    dump_linked,
    load_linked,
    read_linked,
    write_linked,
)
from scaler_client.serializer import DefaultSerializer, Serializer, dump_result, dump_values
from scaler_client.stored import dump_call_apart, whole_parts
from scaler_protocol.batch import STORED_BYTES, Status, pack_stored
from tests.unit.client.shelf import Shelf

DEFAULT = DefaultSerializer()


class Strict(Serializer):
    """A custom one that sees only what it knows."""

    @staticmethod
    def serialize(obj):
        assert obj is not None
        return b"strict" + pickle.dumps(obj)

    @staticmethod
    def deserialize(payload):
        data = bytes(payload)
        assert data.startswith(b"strict")
        return pickle.loads(data[6:])


SERIALIZERS = pytest.mark.parametrize("serializer", [DEFAULT, Strict()])


def shelf_with(value, serializer):
    shelf = Shelf()
    return shelf, shelf.put(whole_parts(value, serializer))


@SERIALIZERS
def test_every_kind_of_link_leads_to_its_value(serializer):
    shelf, handle = shelf_with("stored", serializer)
    links = {
        1: StoredLink(handle.key),
        2: InlineLink(dump_result("inline", serializer)),
        "x": AwaitedLink(),
        "y": AwaitedLink(),
    }
    block = dump_linked(("a", object, object), {"x": object, "b": 1, "y": object}, links, serializer)
    awaited = [
        Awaited(Status.VALUE, 0, dump_result("first", serializer)),
        Awaited(Status.STORED, 0, pack_stored(handle.size, handle.key)),
    ]
    args, kwargs = load_linked(block, serializer, shelf, awaited)
    assert args == ("a", "stored", "inline")
    assert kwargs == {"x": "first", "b": 1, "y": "stored"}


def test_a_result_may_be_one_of_several():
    block = dump_linked((0,), {}, {0: AwaitedLink()}, DEFAULT)
    run = memoryview(dump_values([10, 11, 12]))
    assert load_linked(block, DEFAULT, Shelf(), [Awaited(Status.VALUES, 2, run)]) == ((12,), {})


@SERIALIZERS
def test_the_call_itself_may_be_stored(serializer):
    shelf, handle = shelf_with("stored", serializer)
    call = shelf.put(dump_call_apart((b"x" * STORED_BYTES, None), {"k": 2}, serializer, frozenset([1])))
    block = write_linked(Linked(None, call.key, [(1, StoredLink(handle.key))]))
    assert load_linked(block, serializer, shelf) == ((b"x" * STORED_BYTES, "stored"), {"k": 2})


def test_a_block_can_be_taken_apart_and_packed_again():
    linked = read_linked(dump_linked((1, 2), {"c": 3}, {0: AwaitedLink(), "c": AwaitedLink()}, DEFAULT))
    assert [place for place, _ in linked.links] == [0, "c"]
    links = [(place, InlineLink(dump_result(place, DEFAULT))) for place, _ in linked.links]
    again = write_linked(linked._replace(links=links))
    assert read_linked(again).links == links
    assert load_linked(again, DEFAULT, Shelf()) == ((0, 2), {"c": "c"})


def test_what_is_missing_is_told():
    block = dump_linked((0,), {}, {0: StoredLink(b"gone")}, DEFAULT)
    with pytest.raises(ObjectStorageException, match="gone"):
        load_linked(block, DEFAULT, Shelf())
    with pytest.raises(ValueError, match="did not come"):
        load_linked(dump_linked((0,), {}, {0: AwaitedLink()}, DEFAULT), DEFAULT, Shelf())
    with pytest.raises(ValueError, match="without arguments"):
        load_linked(write_linked(Linked(None, None, [])), DEFAULT, Shelf())


@given(st.lists(st.integers() | st.text()), st.dictionaries(st.text(min_size=1), st.integers()), st.data())
def test_any_arguments_may_be_links(args, kwargs, data):
    places = [*range(len(args)), *kwargs]
    chosen = data.draw(st.sets(st.sampled_from(places))) if places else set()
    value = {
        place: InlineLink(dump_result(kwargs[place] if place in kwargs else args[place], DEFAULT)) for place in chosen
    }
    assert load_linked(dump_linked(tuple(args), kwargs, value, DEFAULT), DEFAULT, Shelf()) == (tuple(args), kwargs)
