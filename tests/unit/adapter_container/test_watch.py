"""What the engine tells is passed on."""

import queue

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
    engine.told.put(None)
    assert told.empty()


@pytest.mark.parametrize("error", [Unreached("nobody there"), ProtocolError("Connection broken")])
def test_when_the_engine_breaks_off_it_listens_again(error, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    engine, told = FakeEngine(), queue.SimpleQueue()
    engine.fail("events", error)
    watch = Watch(lambda: engine, {}, lambda: told.put("change"))
    assert told.get(timeout=60) == "change"
    watch.close()
    engine.told.put(None)
