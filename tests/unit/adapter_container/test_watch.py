"""What the engine tells is passed on."""

import queue
import threading

import pytest
from urllib3.exceptions import ProtocolError

from scaler_adapter_container import watch as module
from scaler_adapter_container.engine import Unreached
from scaler_adapter_container.watch import Watch
from tests.unit.adapter_container.fake_engine import FakeEngine


def test_it_tells_of_starts_and_ends_and_once_at_the_beginning():
    engine, told = FakeEngine(), queue.SimpleQueue()
    watch = Watch(lambda: engine, {}, lambda: told.put("change"))
    assert told.get(timeout=60) == "change"
    for action in ("create", "start", "cleanup", "die"):
        engine.told.put(action)
    assert [told.get(timeout=60), told.get(timeout=60)] == ["change", "change"]
    watch.close()
    ended(watch)
    assert told.empty()
    assert engine.is_closed


@pytest.mark.parametrize("error", [Unreached("nobody there"), ProtocolError("Connection broken")])
def test_when_the_engine_breaks_off_it_listens_again(error, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    engine, told = FakeEngine(), queue.SimpleQueue()
    engine.fail("events", error)
    watch = Watch(lambda: engine, {}, lambda: told.put("change"))
    assert told.get(timeout=60) == "change"
    watch.close()
    ended(watch)


def test_closed_while_it_connects_it_does_not_begin_to_listen():
    engine, told, connects, go_on = FakeEngine(), queue.SimpleQueue(), threading.Event(), threading.Event()

    def connect():
        connects.set()
        assert go_on.wait(60)
        return engine

    watch = Watch(connect, {}, lambda: told.put("change"))
    assert connects.wait(60)
    watch.close()
    go_on.set()
    ended(watch)
    assert told.empty()
    assert engine.is_closed


def ended(watch):
    """Wait for the end of its thread."""
    watch._thread.join(60)
    assert not watch._thread.is_alive()
