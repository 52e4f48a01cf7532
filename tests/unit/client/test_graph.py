"""Graphs as users write them: what is needed of one, what is wrong with it, and its order."""

import graphlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler_client.graph import checked_keys, cull_graph, in_stages, is_call


def add(*values):
    return sum(values)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((add,), True),
        ((add, "a"), True),
        ((int, "a"), True),
        ((), False),
        (("a", add), False),
        ([add, "a"], False),
        (add, False),
        (1, False),
        (None, False),
    ],
)
def test_a_tuple_that_starts_with_a_callable_is_a_call(value, expected):
    assert is_call(value) is expected


def test_only_what_is_needed_stays_in_its_order():
    graph = {"z": (add, "b", "a"), "b": (add, "a"), "a": 1, "unused": (add, "z"), "broken": (add, "missing", 7)}

    assert list(cull_graph(graph, ["b"])) == ["b", "a"]
    assert cull_graph(graph, ["z"]) == {key: graph[key] for key in ("z", "b", "a")}
    assert cull_graph(graph, []) == {}


def test_a_key_that_is_missing_is_a_key_error():
    with pytest.raises(KeyError, match="'x' is not in the graph"):
        cull_graph({"a": 1}, ["a", "x"])


def test_an_argument_that_is_missing_is_a_key_error():
    with pytest.raises(KeyError, match="'x', an argument of 'a'"):
        cull_graph({"a": (add, "x")}, ["a"])


@pytest.mark.parametrize("argument", [1, None, ("b",), b"b"])
def test_an_argument_that_is_no_string_is_a_type_error(argument):
    with pytest.raises(TypeError, match="'a'"):
        cull_graph({"a": (add, "b", argument), "b": 1}, ["a"])


def test_a_circle_does_not_keep_culling_busy():
    assert len(cull_graph({"a": (add, "b"), "b": (add, "a")}, ["a"])) == 2


def test_a_key_that_is_asked_for_twice_is_a_key_error():
    with pytest.raises(KeyError, match="'a'"):
        checked_keys(["a", "b", "a"])
    assert checked_keys(key for key in "ba") == ["b", "a"]


def test_a_chain_of_one_kind_is_one_stage():
    needs = {f"n{number}": [f"n{number - 1}"] if number else [] for number in range(1000)}
    assert in_stages(needs, dict.fromkeys(needs, "f")) == [list(needs)]


def test_kinds_that_do_not_alternate_by_need_make_few_stages():
    needs = {f"{kind}{number}": [f"f{number}"] if kind == "g" else [] for number in range(100) for kind in "fg"}
    stages = in_stages(needs, {key: key[0] for key in needs})
    assert [{key[0] for key in stage} for stage in stages] == [{"f"}, {"g"}]


@pytest.mark.parametrize(
    "needs", [{"a": ["a"]}, {"a": ["b"], "b": ["a"]}, {"a": [], "b": ["a", "d"], "c": ["b"], "d": ["c"]}]
)
def test_a_circle_is_a_cycle_error(needs):
    with pytest.raises(graphlib.CycleError):
        in_stages(needs, dict.fromkeys(needs, "f"))


@given(st.integers(0, 60), st.randoms(use_true_random=False))
def test_each_call_comes_after_what_it_needs_and_once(count, rng: random.Random):
    names = [f"n{number}" for number in range(count)]
    needs = {name: rng.choices(names[:at], k=rng.randrange(4)) if at else [] for at, name in enumerate(names)}
    shuffled = dict(rng.sample(list(needs.items()), count))
    kinds = {name: rng.choice("fgh") for name in names}

    stages = in_stages(shuffled, kinds)

    done = [name for stage in stages for name in stage]
    assert sorted(done) == sorted(names)
    places = {name: place for place, name in enumerate(done)}
    assert all(places[need] < places[name] for name in names for need in needs[name])
    assert all(len({kinds[name] for name in stage}) == 1 for stage in stages)
