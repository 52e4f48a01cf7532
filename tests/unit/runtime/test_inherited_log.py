"""A process that was forked from one whose log is set up keeps what is there, if it is what it wants."""

import logging
import os
import sys
from dataclasses import replace

import pytest

from scaler_runtime.logging import setup_logging
from scaler_runtime.options import LoggingConfig

ROOT = logging.getLogger()


@pytest.fixture
def config(tmp_path):
    return LoggingConfig(("-", str(tmp_path / "log")), level="WARNING")


@pytest.fixture
def set_up(config, monkeypatch):
    """Return a function that sets the log up as a process did that this one is forked from; returns its handlers."""
    made, level, pid = [], ROOT.level, os.getpid()

    def run(parent=pid + 1):
        monkeypatch.setattr(ROOT, "handlers", [])  # pytest has some, while a test runs
        monkeypatch.setattr(os, "getpid", lambda: parent)
        setup_logging(config)
        monkeypatch.setattr(os, "getpid", lambda: pid)
        made.extend(ROOT.handlers)
        return ROOT.handlers[:]

    yield run
    for handler in (*made, *ROOT.handlers):
        handler.close()
    ROOT.setLevel(level)


def test_the_handlers_stay(set_up, config):
    before = set_up()
    setup_logging(replace(config))
    assert ROOT.handlers == before
    assert len(before) == 2


@pytest.mark.parametrize("changed", [{"level": "DEBUG"}, {"paths": ("-",)}, {"paths": ()}], ids=str)
def test_another_configuration_is_set_up(set_up, config, changed):
    before, wanted = set_up(), replace(config, **changed)
    setup_logging(wanted)
    assert not set(ROOT.handlers) & set(before)
    assert len(ROOT.handlers) == max(1, len(wanted.paths))
    assert logging.getLevelName(ROOT.level) == wanted.level


@pytest.mark.parametrize("changed", ["level", "handlers", "screen"])
def test_what_was_changed_since_is_set_up_anew(set_up, config, monkeypatch, changed):
    before = set_up()
    if changed == "level":
        ROOT.setLevel("ERROR")
    elif changed == "handlers":
        ROOT.removeHandler(before[0])
    else:
        monkeypatch.setattr(sys, "stdout", sys.stderr)

    setup_logging(config)

    assert not set(ROOT.handlers) & set(before)
    assert len(ROOT.handlers) == 2
    assert ROOT.level == logging.WARNING


def test_the_same_process_sets_it_up_anew(set_up, config):
    before = set_up(os.getpid())
    setup_logging(config)
    assert not set(ROOT.handlers) & set(before)
