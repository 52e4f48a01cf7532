"""A set of task numbers that says what is new."""

from hypothesis import given
from hypothesis import strategies as st

from scaler_client.spans import Spans


def test_what_is_added_twice_is_new_once():
    spans = Spans()
    assert spans.add(2, 5) == [(2, 5)]
    assert spans.add(2, 5) == []
    assert spans.add(0, 8) == [(0, 2), (5, 8)]
    assert list(spans) == [(0, 8)]


def test_neighbours_grow_together():
    spans = Spans()
    spans.add(0, 1)
    spans.add(2, 3)
    assert list(spans) == [(0, 1), (2, 3)]
    spans.add(1, 2)
    assert list(spans) == [(0, 3)]
    assert spans.missing(5) == [(3, 5)]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10))))
def test_spans_are_a_set_of_numbers(added):
    spans, model = Spans(), set()
    for start, length in added:
        numbers = set(range(start, start + length))
        fresh = [n for low, high in spans.add(start, start + length) for n in range(low, high)]
        assert fresh == sorted(numbers - model)
        model |= numbers
        assert spans.size == len(model)
        assert [n for low, high in spans for n in range(low, high)] == sorted(model)
        assert all(stop < start for (_, stop), (start, _) in zip(list(spans), list(spans)[1:], strict=False))
        assert {n for low, high in spans.missing(50) for n in range(low, high)} == set(range(50)) - model
        assert all((n in spans) == (n in model) for n in range(50))
