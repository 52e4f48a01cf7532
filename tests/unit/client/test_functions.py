"""Functions as they are submitted: what they are called with, and when they are pickled again."""

import functools
import operator
import re

import pytest

from scaler_client import functions
from scaler_client.functions import Functions, check_size
from scaler_client.serializer import DefaultSerializer, load_function
from scaler_protocol.batch import MAX_INLINE_BYTES

FACTOR = 2


def function_of(fn):
    return Functions(DefaultSerializer()).of(fn)


def keyword_only(a, *, b):
    return a, b


def test_an_importable_function_is_pickled_once(monkeypatch):
    table = Functions(DefaultSerializer())
    first = table.of(operator.neg)
    monkeypatch.setattr(functions, "dump_function", None)
    assert table.of(operator.neg) is first


def test_any_other_is_pickled_every_time_so_that_changes_take_effect():
    table = Functions(DefaultSerializer())
    factor = 2
    fn = lambda x: factor * x  # noqa: E731
    before = table.of(fn)
    assert table.of(fn) is before
    factor = 3
    after = table.of(fn)
    assert after.function_id != before.function_id
    assert load_function(after.payload)[0](10) == 30


def test_a_method_of_an_object_that_changes_is_pickled_every_time():
    table = Functions(DefaultSerializer())
    items = [1]
    before = table.of(items.count)
    items.append(1)
    assert load_function(table.of(items.count).payload)[0](1) == 2
    assert load_function(before.payload)[0](1) == 1


def test_the_table_is_bounded(monkeypatch):
    monkeypatch.setattr(functions, "MAX_REMEMBERED", 3)
    table = Functions(DefaultSerializer())
    for fn in (operator.neg, operator.pos, operator.abs, operator.inv, operator.add):
        assert load_function(table.of(fn).payload)[0] is fn
    assert len(table._remembered) <= 3


def test_callables_of_all_kinds_work():
    class Unhashable:
        __hash__ = None

        def __call__(self, x):
            return x + 1

    for fn, args in [
        (functools.partial(operator.add, 1), (2,)),
        (Unhashable(), (2,)),
        (int, ("3",)),
        ("x{}".format, (1,)),
        (re.compile("a").sub, ("b", "cat")),
    ]:
        function = function_of(fn)
        function.check(args, {})
        assert load_function(function.payload)[0](*args) == fn(*args)


def test_a_callable_whose_attributes_are_no_texts_has_a_name_all_the_same():
    class Proxy:
        def __getattr__(self, name):
            if name.startswith("__") and name not in {"__name__", "__qualname__"}:
                raise AttributeError(name)
            return self

        def __call__(self):
            return self

    assert Functions(DefaultSerializer()).of(Proxy()).name.endswith("Proxy")


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="not callable"):
        function_of(3)


@pytest.mark.parametrize(
    ("args", "kwargs", "fits"),
    [((1,), {"b": 2}, True), ((), {"a": 1, "b": 2}, True), ((1, 2), {}, False), ((1,), {}, False)],
)
def test_arguments_are_checked_as_in_a_local_call(args, kwargs, fits):
    function = function_of(keyword_only)
    if fits:
        function.check(args, kwargs)
    else:
        with pytest.raises(TypeError, match="keyword_only"):
            function.check(args, kwargs)


def test_a_number_of_arguments_is_checked_without_looking_closer():
    function = function_of(lambda a, b=1: (a, b))
    assert (function.fewest, function.most) == (1, 2)
    function.check_count(1)
    with pytest.raises(TypeError, match="too many positional arguments"):
        function.check_count(3)


def test_a_wrapper_takes_what_it_says_itself():
    def inner(connection, x):
        return connection, x

    @functools.wraps(inner)
    def wrapper(x):
        return inner(None, x)

    function_of(wrapper).check((1,), {})


def test_a_builtin_without_a_signature_takes_anything():
    function = function_of(dict.fromkeys)
    function_of(max).check((1, 2, 3), {})
    function.check(((1,),), {})


def test_profiling_is_dropped_where_it_is_not_taken():
    with pytest.warns(DeprecationWarning, match="profiling"):
        assert function_of(keyword_only).accepted({"profiling": True, "b": 1}, 1) == {"b": 1}

    def takes(profiling):
        return profiling

    def takes_all(**kwargs):
        return kwargs

    for fn in (takes, takes_all):
        assert function_of(fn).accepted({"profiling": True}, 1) == {"profiling": True}


def test_too_many_bytes_are_refused_with_both_numbers():
    check_size(MAX_INLINE_BYTES, "x")
    with pytest.raises(ValueError, match=rf"{MAX_INLINE_BYTES + 1}.*{MAX_INLINE_BYTES}"):
        check_size(MAX_INLINE_BYTES + 1, "x")
