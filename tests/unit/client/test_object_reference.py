"""What stands for an object."""

import pickle

from scaler_client.handles import Handle
from scaler_client.object_reference import ObjectReference
from tests.unit.client.shelf import Shelf


def test_references_are_equal_if_they_stand_for_the_same_object():
    one, same, other = ObjectReference(b"n", 1, b"1"), ObjectReference(b"m", 2, b"1"), ObjectReference(b"n", 1, b"2")
    assert one == same != other
    assert one != b"1"
    assert len({one, same, other}) == 2
    assert "n of 1 bytes" in repr(one)


def test_a_pickled_copy_keeps_nothing():
    shelf = Shelf()
    shelf.objects[b"key"] = b"x"
    reference = ObjectReference(b"n", 1, b"key", Handle(shelf, b"key", 1))
    copy = pickle.loads(pickle.dumps(reference))
    assert (copy, copy.name, copy.size, copy.object_id) == (reference, b"n", 1, b"key")
    assert shelf.objects
    del reference
    assert not shelf.objects
