"""Arguments into blocks and batches of a bounded size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler_client.packing import BLOCK_BYTES, BLOCK_TASKS, pack_calls, pack_shared, pack_values, shared_encoding
from scaler_client.serializer import DefaultSerializer, Serializer, dump_call, load_call, load_values
from scaler_protocol.batch import MAX_BATCH_BYTES, MAX_BATCH_TASKS, MAX_INLINE_BYTES, U32, Encoding, numbers

DEFAULT = DefaultSerializer()


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
    packed = list(pack_calls(calls, serializer))
    assert [call for part in packed for call in calls_of(part, serializer)] == calls
    assert not custom or all(part.encoding is Encoding.CALL for part in packed)


@given(st.lists(arguments, min_size=1))
def test_values_come_back(values):
    packed = list(pack_values(values, DEFAULT))
    assert [call for part in packed for call in calls_of(part)] == [(value,) for value in values]


def test_many_small_values_share_blocks_and_batches_are_bounded():
    packed = list(pack_values(range(10_000), DEFAULT))
    assert [part.count for part in packed] == [MAX_BATCH_TASKS, MAX_BATCH_TASKS, 10_000 - 2 * MAX_BATCH_TASKS]
    assert max(numbers(U32, packed[0].block_counts)) == BLOCK_TASKS


def test_large_values_share_nothing():
    packed = list(pack_values(["x" * 200_000] * 20, DEFAULT))
    assert all(len(part.payload) < MAX_BATCH_BYTES + 250_000 for part in packed)
    assert {n for part in packed for n in numbers(U32, part.block_counts)} == {1}


def test_blocks_of_several_tasks_stay_small():
    packed = list(pack_values([str(i) * 300 for i in range(1000)], DEFAULT))
    for part in packed:
        for count, size in zip(numbers(U32, part.block_counts), numbers(U32, part.block_sizes), strict=True):
            assert count == 1 or size <= BLOCK_BYTES


def test_one_mutable_argument_keeps_all_by_themselves():
    (packed,) = pack_values([1, [2], 3], DEFAULT)
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
        list(pack_values([value], DEFAULT))
