"""Preloading."""

import logging
import sys
import types

import pytest

from scaler_worker.preload import PreloadSpecError, execute_preload, parse_preload


@pytest.fixture
def module(monkeypatch):
    called = []
    module = types.ModuleType("to_preload")
    module.called = called
    module.load = lambda *args, **kwargs: called.append((args, kwargs))
    module.number = 3
    monkeypatch.setitem(sys.modules, "to_preload", module)
    return module


def test_it_is_called_and_logged(module, caplog):
    caplog.set_level(logging.INFO)
    execute_preload("to_preload:load")
    execute_preload("to_preload:load('a', [1, 2], b=None)")
    assert module.called == [((), {}), (("a", [1, 2]), {"b": None})]
    assert [record.message for record in caplog.records] == [
        "preloading: to_preload:load with args ()",
        "preloading: to_preload:load with args ('a', [1, 2], b=None)",
    ]


@pytest.mark.parametrize("spec", ["", "to_preload", "to_preload:load(", "to_preload:load(x)", "to_preload.load()"])
def test_malformed_specifications_are_refused(spec):
    with pytest.raises(PreloadSpecError, match=r"pkg\.mod:func"):
        parse_preload(spec)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("there_is_no_such:load", "no module there_is_no_such"),
        ("to_preload:absent", "has no absent"),
        ("to_preload:number", "not callable"),
    ],
)
def test_a_missing_target_is_named(module, spec, reason):
    with pytest.raises(PreloadSpecError, match=reason):
        execute_preload(spec)


def test_what_the_function_raises_comes_through(module):
    module.load = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        execute_preload("to_preload:load")
