"""A set of whole numbers, compared with a plain set."""

import random
from itertools import pairwise

import pytest

from scaler_scheduler.core.intervals import Intervals


def test_neighbours_become_one():
    intervals = Intervals(0, 2)
    intervals.add(4, 6)
    intervals.add(2, 4)

    assert list(intervals) == [(0, 6)]
    assert intervals.size == 6


def test_taking_the_first_numbers_shrinks_and_then_removes_an_interval():
    intervals = Intervals(0, 3)
    intervals.add(5, 6)

    intervals.take_first(2)
    assert list(intervals) == [(2, 3), (5, 6)]
    intervals.take_first(1)
    assert intervals.first() == (5, 6)
    assert intervals.size == 1


@pytest.mark.parametrize("span", [(0, 1), (2, 5), (4, 6), (1, 9), (3, 4)])
def test_what_is_there_cannot_be_added(span):
    intervals = Intervals(0, 2)
    intervals.add(3, 5)

    with pytest.raises(ValueError, match="overlaps"):
        intervals.add(*span)
    assert list(intervals) == [(0, 2), (3, 5)]


def test_removing_says_what_was_there():
    intervals = Intervals(0, 4)
    intervals.add(6, 9)

    assert intervals.remove(2, 7) == [(2, 4), (6, 7)]
    assert list(intervals) == [(0, 2), (7, 9)]
    assert intervals.remove(20, 30) == []


def test_nothing_is_empty():
    intervals = Intervals()
    intervals.add(3, 3)

    assert not intervals
    assert intervals.size == 0


@pytest.mark.parametrize("seed", range(20))
def test_it_is_a_set(seed):
    rng = random.Random(seed)
    intervals, expected = Intervals(), set()
    for _ in range(200):
        start = rng.randrange(60)
        stop = start + rng.randrange(8)
        if rng.random() < 0.5 and not expected & set(range(start, stop)):
            intervals.add(start, stop)
            expected |= set(range(start, stop))
        else:
            removed = intervals.remove(start, stop)
            assert {n for low, high in removed for n in range(low, high)} == expected & set(range(start, stop))
            expected -= set(range(start, stop))
        spans = list(intervals)
        assert {n for low, high in spans for n in range(low, high)} == expected
        assert all(low < high for low, high in spans)
        assert all(before[1] < after[0] for before, after in pairwise(spans))
        assert intervals.size == len(expected)


def test_whether_a_number_is_there():
    intervals = Intervals(2, 4)
    intervals.add(7, 8)
    assert [number for number in range(10) if number in intervals] == [2, 3, 7]
    assert 0 not in Intervals()
