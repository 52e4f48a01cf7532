"""Callbacks run one after the other, in a thread of their own."""

import sys
import threading

from scaler_client.callbacks import CallbackThread


def test_callbacks_may_wait_for_each_other_and_may_fail(caplog):
    thread = CallbackThread("test-callbacks")
    released, done = threading.Event(), threading.Event()
    names = []
    thread.run(released.wait)
    thread.run(lambda: 1 / 0)
    thread.run(lambda: names.append(threading.current_thread().name))
    thread.run(done.set)
    released.set()
    assert done.wait(10)
    thread.close()
    assert names == ["test-callbacks"]
    assert "exception calling the callback" in caplog.text


def test_one_that_exits_does_not_cost_the_others(caplog):
    callbacks, called = CallbackThread("callbacks"), threading.Event()
    callbacks.run(sys.exit)
    callbacks.run(called.set)
    assert called.wait(10)
    assert "SystemExit" in caplog.text
    callbacks.close()


def test_no_thread_without_callbacks():
    before = threading.active_count()
    thread = CallbackThread("test-callbacks")
    thread.close()
    assert threading.active_count() == before
