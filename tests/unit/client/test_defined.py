"""Which functions the scheduler has."""

from collections import Counter

from scaler_client import defined
from scaler_client.defined import DefinedFunctions
from scaler_client.functions import Function


def function(name, size=10):
    return Function(name.encode(), name, b"x" * size, None, 0, 1)


def test_a_function_is_defined_before_its_first_batch_only():
    table = DefinedFunctions()
    f = function("f")
    assert table.use(f)
    assert not table.use(f)
    assert table.release(f) == []
    assert table.release(f) == []
    assert not table.use(f)
    table.check(Counter({b"f": 1}))


def test_the_least_recently_used_is_forgotten_but_never_one_in_use(monkeypatch):
    monkeypatch.setattr(defined, "MAX_IDLE", 2)
    table = DefinedFunctions()
    busy = function("busy")
    table.use(busy)
    for name in "abc":
        table.use(function(name))
    assert [table.release(function(name)) for name in "abc"] == [[], [], [b"a"]]
    assert table.use(function("a"))
    assert len(table) == 4


def test_large_functions_are_forgotten_earlier(monkeypatch):
    monkeypatch.setattr(defined, "MAX_IDLE_BYTES", 100)
    table = DefinedFunctions()
    for name in "ab":
        table.use(function(name, 60))
    assert table.release(function("a", 60)) == []
    assert table.release(function("b", 60)) == [b"a"]


def test_a_new_scheduler_has_none():
    table = DefinedFunctions()
    table.use(function("f"))
    table.clear()
    assert table.use(function("f"))


def test_functions_of_unfinished_batches_are_bounded(monkeypatch):
    monkeypatch.setattr(defined, "MAX_USED", 2)
    monkeypatch.setattr(defined, "MAX_USED_BYTES", 100)
    table, small, other, large = DefinedFunctions(), function("a"), function("b"), function("c", 200)

    assert table.has_room(small)
    assert not table.has_room(large)
    table.use(small)
    table.use(other)
    assert table.has_room(other)
    assert not table.has_room(function("d"))
    table.release(other)
    assert table.has_room(function("d"))
