"""The table of functions."""

import sys
import types

import pytest

from scaler_client.serializer import DefaultSerializer, dump_function
from scaler_worker.functions import Functions


def test_functions_are_restored_once():
    functions = Functions()
    functions.define(b"1", "abs", dump_function(abs, DefaultSerializer()))
    function = functions.get(b"1")
    fn, serializer = function.load()
    assert fn(-3) == 3
    assert isinstance(serializer, DefaultSerializer)
    assert function.load()[0] is fn


def test_forgotten_functions_serve_who_has_them():
    functions = Functions()
    functions.define(b"1", "abs", dump_function(abs, DefaultSerializer()))
    held = functions.get(b"1")
    functions.forget([b"1", b"2"])
    assert held.load()[0] is abs
    with pytest.raises(LookupError, match="did not send"):
        functions.get(b"1").load()
    functions.define(b"1", "abs", dump_function(abs, DefaultSerializer()))
    functions.forget_all()
    with pytest.raises(LookupError):
        functions.get(b"1").load()


def test_a_failure_is_not_remembered(monkeypatch):
    functions = Functions()
    module = types.ModuleType("late_module")
    module.late = lambda: 5
    module.late.__module__, module.late.__qualname__ = "late_module", "late"
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "late_module", module)
        functions.define(b"1", "late", dump_function(module.late, DefaultSerializer()))
    with pytest.raises(ModuleNotFoundError):
        functions.get(b"1").load()
    monkeypatch.setitem(sys.modules, "late_module", module)
    assert functions.get(b"1").load()[0]() == 5
