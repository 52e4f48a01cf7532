"""Objects to bytes and back, in the way another process would see them."""

import functools
import math
import pickle
import subprocess
import sys
import traceback

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler_client import serializer as s
from scaler_client.exceptions import DeserializeObjectError

DEFAULT = s.DefaultSerializer()


class Reversed(s.Serializer):
    """Serializes in its own way."""

    @staticmethod
    def serialize(obj):
        return pickle.dumps(obj)[::-1]

    @staticmethod
    def deserialize(payload):
        return pickle.loads(bytes(payload)[::-1])


class NotRestored(Exception):
    """Cannot be called with what it is pickled with."""

    def __init__(self, one, two):
        super().__init__(f"{one}{two}")


@pytest.mark.parametrize("serializer", [DEFAULT, Reversed()])
def test_calls_and_results_come_back(serializer):
    block = memoryview(s.dump_call((1, [2]), {"three": {4}}, serializer))
    assert s.load_call(block, serializer) == ((1, [2]), {"three": {4}})
    assert s.load_result(memoryview(s.dump_result({"a": 1}, serializer)), serializer) == {"a": 1}


def test_a_custom_serializer_travels_with_the_function():
    fn, serializer = s.load_function(s.dump_function(math.hypot, Reversed()))
    assert fn is math.hypot
    assert type(serializer) is Reversed


def test_each_argument_is_serialized_by_itself_with_a_custom_serializer():
    args, kwargs = pickle.loads(s.dump_call((1, "two"), {"k": 3}, Reversed()))
    assert [Reversed.deserialize(arg) for arg in args] == [1, "two"]
    assert Reversed.deserialize(kwargs["k"]) == 3


def test_an_importable_function_goes_by_reference_and_a_lambda_by_value():
    assert s.dump_by_reference(math.hypot) is not None
    captured = 3
    fn = lambda x: x + captured  # noqa: E731
    assert s.dump_by_reference(fn) is None
    restored, _ = s.load_function(s.dump_function(fn, DEFAULT))
    assert restored(1) == 4


def test_what_belongs_to_main_goes_by_value_and_works_elsewhere(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from scaler_client import serializer as s\n"
        "class Point:\n"
        "    x = 7\n"
        "def fn(p): return p.x\n"
        "d = s.DefaultSerializer()\n"
        "print(s.dump_function(fn, d).hex(), s.dump_call((Point(),), {}, d).hex())\n"
    )
    out = subprocess.run([sys.executable, script], check=True, capture_output=True).stdout.decode()
    function, call = map(bytes.fromhex, out.split())
    fn, serializer = s.load_function(function)
    args, _ = s.load_call(call, serializer)
    assert fn(*args) == 7


def test_modules_registered_by_value_are_honoured():
    cloudpickle.register_pickle_by_value(functools)
    try:
        assert s.dump_by_reference(functools.reduce) is None
    finally:
        cloudpickle.unregister_pickle_by_value(functools)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2.0, True, "a", b"b", None], True),
        ([(1, ("a", (None,)))], True),
        ([(1, [])], False),
        ([[1]], False),
        ([1j], False),
        ([], True),
        (range(5), True),
        (iter([1, (2, "x")]), True),
    ],
)
def test_only_immutable_atoms_may_share_a_pickle(values, expected):
    assert s.are_atoms(values) is expected


def test_a_subclass_of_an_atom_is_none():
    class Named(int):
        pass

    assert not s.are_atoms([Named(3)])
    assert not s.are_atoms([1, Named(3)])


def test_a_tuple_nested_beyond_reason_is_no_atom():
    value = ()
    for _ in range(100):
        value = (value,)
    assert not s.are_atoms([value])


@given(st.lists(st.one_of(st.integers(), st.text(), st.binary(), st.none(), st.floats(allow_nan=False))))
def test_values_come_back(values):
    assert s.load_values(memoryview(s.dump_values(values))) == values


def test_a_failure_shows_where_it_was_raised():
    try:
        raise KeyError("lost")  # noqa: TRY301
    except KeyError as error:
        restored = s.load_failure(memoryview(s.dump_failure(error)))
    assert type(restored) is KeyError
    text = "".join(traceback.format_exception(restored))
    assert "test_a_failure_shows_where_it_was_raised" in text


def test_an_exception_that_cannot_be_restored_is_refused_where_it_is_dumped():
    with pytest.raises(TypeError):
        s.dump_failure(NotRestored(1, 2))


def test_an_exception_that_holds_what_cannot_be_pickled_is_refused():
    error = ValueError("with a generator")
    error.generator = (i for i in ())
    with pytest.raises(TypeError):
        s.dump_failure(error)


def test_an_exception_that_is_missing_here_is_told_with_its_traceback():
    payload = pickle.dumps((b"cno_such_module\nNoClass\n.", "the remote traceback"))
    error = s.load_failure(payload)
    assert type(error) is DeserializeObjectError
    assert "no_such_module" in str(error)
    assert "the remote traceback" in str(error)


def test_a_serializer_has_to_say_both_ways():
    class Half(s.Serializer):
        @staticmethod
        def serialize(_):
            return b""

    with pytest.raises(TypeError):
        Half()
