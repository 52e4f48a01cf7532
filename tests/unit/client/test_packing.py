"""Arguments into blocks and batches of a bounded size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler_client.linking import Linker
from scaler_client.packing import BLOCK_BYTES, BLOCK_TASKS, pack_calls, pack_shared, pack_values, shared_encoding
from scaler_client.serializer import DefaultSerializer, Serializer, dump_call, load_call, load_values
from scaler_client.sources import Source
from scaler_protocol.batch import (
    MAX_BATCH_BYTES,
    MAX_BATCH_TASKS,
    MAX_INLINE_BYTES,
    STORED_BYTES,
    U32,
    Encoding,
    numbers,
)
from tests.unit.client.shelf import Shelf

DEFAULT = DefaultSerializer()


def linker(serializer=DEFAULT, shelf=None):
    return Linker(serializer, shelf or Shelf(is_available=False))


class Custom(DefaultSerializer):
    """Not the default one, though it does the same."""


def calls_of(packed, serializer=DEFAULT):
    calls = []
    position = 0
    for count, size in zip(numbers(U32, packed.block_counts), numbers(U32, packed.block_sizes), strict=True):
        block = packed.payload[position : position + size]
        position += size
        if packed.encoding is Encoding.CALL:
            part = [load_call(block, serializer)[0]]
        elif packed.encoding is Encoding.VALUES:
            part = [(value,) for value in load_values(block)]
        else:
            part = load_values(block)
        assert len(part) == count
        calls += part
    assert position == len(packed.payload)
    assert len(calls) == packed.count
    return calls


atoms = st.one_of(st.integers(), st.text(), st.none(), st.booleans())
arguments = st.one_of(atoms, st.lists(atoms), st.tuples(atoms, atoms))


@given(st.lists(st.tuples(arguments, arguments), min_size=1), st.booleans())
def test_calls_come_back(calls, custom):
    serializer: Serializer = Custom() if custom else DEFAULT
    packed = list(pack_calls(calls, linker(serializer)))
    assert [call for part in packed for call in calls_of(part, serializer)] == calls
    assert not custom or all(part.encoding is Encoding.CALL for part in packed)


@given(st.lists(arguments, min_size=1))
def test_values_come_back(values):
    packed = list(pack_values(values, linker()))
    assert [call for part in packed for call in calls_of(part)] == [(value,) for value in values]


def test_many_small_values_share_blocks_and_batches_are_bounded():
    packed = list(pack_values(range(10_000), linker()))
    assert [part.count for part in packed] == [MAX_BATCH_TASKS, MAX_BATCH_TASKS, 10_000 - 2 * MAX_BATCH_TASKS]
    assert max(numbers(U32, packed[0].block_counts)) == BLOCK_TASKS


def test_large_values_share_nothing():
    packed = list(pack_values(["x" * 200_000] * 20, linker()))
    assert all(len(part.payload) < MAX_BATCH_BYTES + 250_000 for part in packed)
    assert {n for part in packed for n in numbers(U32, part.block_counts)} == {1}


def test_blocks_of_several_tasks_stay_small():
    packed = list(pack_values([str(i) * 300 for i in range(1000)], linker()))
    for part in packed:
        for count, size in zip(numbers(U32, part.block_counts), numbers(U32, part.block_sizes), strict=True):
            assert count == 1 or size <= BLOCK_BYTES


def test_one_mutable_argument_keeps_all_by_themselves():
    (packed,) = pack_values([1, [2], 3], linker())
    assert packed.encoding is Encoding.CALL
    assert list(numbers(U32, packed.block_counts)) == [1, 1, 1]


def test_single_calls_of_one_argument_share_blocks():
    assert shared_encoding((1,)) is Encoding.VALUES
    assert shared_encoding((1, "a", None)) is Encoding.TUPLES
    assert shared_encoding(()) is Encoding.TUPLES
    for args in [([],), ("x" * 100,), (1 << 70,), (1,) * 20, ((1,),)]:
        assert shared_encoding(args) is Encoding.CALL


def test_collected_calls_come_back():
    assert calls_of(pack_shared(Encoding.VALUES, list(range(200)))) == [(i,) for i in range(200)]
    assert calls_of(pack_shared(Encoding.TUPLES, [(i, i) for i in range(200)])) == [(i, i) for i in range(200)]
    blocks = [dump_call((i,), {}, DEFAULT) for i in range(200)]
    assert calls_of(pack_shared(Encoding.CALL, blocks)) == [(i,) for i in range(200)]


@pytest.mark.parametrize("value", [b"x" * (MAX_INLINE_BYTES + 1), [b"x" * (MAX_INLINE_BYTES + 1)]])
def test_a_value_that_is_too_large_is_refused(value):
    with pytest.raises(ValueError, match=str(MAX_INLINE_BYTES)):
        list(pack_values([value], linker()))


def kinds(packed):
    return [(part.encoding, part.count) for part in packed]


def test_large_values_are_stored_and_their_batches_keep_them():
    shelf = Shelf()
    large = bytes(STORED_BYTES)
    packed = list(pack_values([1, large, 2, [large], [3]], linker(shelf=shelf)))
    assert kinds(packed) == [
        (Encoding.CALL, 1),
        (Encoding.LINKED, 1),
        (Encoding.CALL, 1),
        (Encoding.LINKED, 1),
        (Encoding.CALL, 1),
    ]
    assert len(shelf.objects) == 2
    assert all(part.stored_bytes == sum(handle.size for handle in part.handles) for part in packed)
    assert packed[1].size == len(packed[1].payload) + packed[1].stored_bytes > STORED_BYTES
    del packed
    assert not shelf.objects


def test_a_large_value_deep_within_atoms_is_found():
    shelf = Shelf()
    large = (1, (bytes(STORED_BYTES),))
    packed = list(pack_values([*range(10), large, *range(10)], linker(shelf=shelf)))
    assert kinds(packed) == [(Encoding.VALUES, 10), (Encoding.LINKED, 1), (Encoding.VALUES, 10)]
    packed = list(pack_calls([(1, 2), (3, large)], linker(shelf=shelf)))
    assert kinds(packed) == [(Encoding.TUPLES, 1), (Encoding.LINKED, 1)]


def test_no_more_is_stored_ahead_than_a_batch_has():
    shelf = Shelf()
    for packed in pack_values([bytes(STORED_BYTES)] * 100, linker(shelf=shelf)):
        assert packed.count <= MAX_BATCH_BYTES // STORED_BYTES
        del packed
        assert not shelf.objects


def test_collected_calls_may_be_linked():
    shelf = Shelf()
    items = [linker(shelf=shelf).dump((bytes(STORED_BYTES),), {}) for _ in range(3)]
    packed = pack_shared(Encoding.LINKED, items)
    assert (packed.count, len(packed.handles)) == (3, 3)
    assert packed.size == sum(item.size for item in items)


def test_calls_that_wait_are_packed_when_they_are_sent():
    source = Source(1, 0)
    shared = linker()
    (packed,) = pack_calls([(source, number) for number in range(5)], shared)
    assert packed.encoding is Encoding.LINKED
    assert packed.count == 5
    assert packed.payload == packed.block_counts == packed.block_sizes == b""
    assert packed.size == packed.inline_bytes > 0
    assert len(packed.waits.pack().block_sizes) == 4 * 5


def test_batches_of_calls_that_wait_are_bounded_too():
    source = Source(1, 0)
    counts = [packed.count for packed in pack_calls([(source, "x" * 100_000)] * 25, linker())]
    assert sum(counts) == 25
    assert max(counts) <= 1 + MAX_BATCH_BYTES // 100_000
