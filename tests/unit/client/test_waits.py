"""Calls that wait for results are packed anew each time, with what is there then."""

from itertools import pairwise

import pytest

from scaler_client.linked import AwaitedLink, InlineLink, load_linked, read_linked
from scaler_client.linking import Linker
from scaler_client.serializer import DefaultSerializer, dump_result
from scaler_client.sources import Lost, Source, delivered
from scaler_client.waits import Waits
from scaler_protocol.batch import U32, U64, Status, numbers, offsets
from tests.unit.client.shelf import Shelf

DEFAULT = DefaultSerializer()


@pytest.fixture
def linker():
    return Linker(DEFAULT, Shelf())


def given(value):
    return delivered(Status.VALUE, 0, dump_result(value, DEFAULT), None, DEFAULT)


def unpacked(columns):
    """Return for each call its block, and the sources that it waits for."""
    ends = offsets(numbers(U32, columns.block_sizes))
    blocks = [columns.payload[low:high] for low, high in pairwise(ends)]
    counts = list(numbers(U32, columns.dependency_counts)) or [0] * len(blocks)
    edges = list(zip(numbers(U64, columns.dependency_batches), numbers(U32, columns.dependency_tasks), strict=True))
    bounds = offsets(counts)
    return [(block, edges[low:high]) for block, (low, high) in zip(blocks, pairwise(bounds), strict=True)]


def test_what_is_unfinished_is_awaited_and_what_is_there_goes_along(linker):
    first, second = Source(4, 1), Source(5, 0)
    waits = Waits([linker.dump((first, "plain", second), {}), linker.dump((1,), {"k": second})])

    (block, edges), (other, others) = unpacked(waits.pack())
    assert edges == [(4, 1), (5, 0)]
    assert others == [(5, 0)]
    assert [link for _, link in read_linked(block).links] == [AwaitedLink(), AwaitedLink()]

    second.outcome = given("result")
    (block, edges), (other, others) = unpacked(waits.pack())
    assert edges == [(4, 1)]
    assert others == []
    assert load_linked(other, DEFAULT, Shelf()) == ((1,), {"k": "result"})
    places = dict(read_linked(block).links)
    assert places == {0: AwaitedLink(), 2: InlineLink(dump_result("result", DEFAULT))}


def test_calls_that_wait_for_nothing_have_no_dependencies(linker):
    source = Source(4, 1)
    source.outcome = given(1)
    columns = Waits([linker.dump((source,), {})]).pack()
    assert columns.dependency_counts == columns.dependency_batches == columns.dependency_tasks == b""


def test_calls_that_lost_what_they_need_are_found_in_order(linker):
    sources = [Source(4, index) for index in range(3)]
    waits = Waits([linker.dump((source, source), {}) for source in sources])
    assert not list(waits.lost())

    sources[0].outcome = lost = Lost(None)
    found = []
    for index, why in waits.lost():
        found.append((index, why))
        sources[2].outcome = lost  # the end of one is the end of the next

    assert found == [(0, lost), (2, lost)]


def test_what_is_over_is_let_go_of(linker):
    source = Source(4, 1)
    waits = Waits([linker.dump((source,), {}), linker.dump((source, 2), {})])
    waits.forget(0, 1)

    (block, edges), (other, others) = unpacked(waits.pack())

    assert block == b""
    assert edges == []
    assert others == [(4, 1)]
    assert waits.size == len(block) + len(other) > 0
