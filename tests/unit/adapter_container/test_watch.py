"""What the engine tells is passed on."""

import queue

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
