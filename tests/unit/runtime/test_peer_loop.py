"""The IO thread of clients and workers, with a connection that is played by a pipe."""

import contextlib
import os
import threading

import pytest

from scaler_runtime.peer_loop import PeerLoop


class Connection:
    """Events come by `arrive`; what is flushed is counted."""

    def __init__(self):
        self.read, self.write = os.pipe()
        os.set_blocking(self.read, False)
        self.events = []
        self.flushed = 0
        self.pumped = 0
        self.swallowed = []

    def arrive(self, *events):
        self.events += events
        os.write(self.write, b"x")

    def swallow(self, *events):
        """Have events come while something is sent, of which the descriptor does not tell."""
        self.swallowed.append(events)

    def filenos(self):
        return (self.read,)

    def pump(self, now):
        self.pumped += 1
        with contextlib.suppress(BlockingIOError):
            os.read(self.read, 100)
        events, self.events = self.events, []
        return events

    def flush(self, now):
        self.flushed += 1
        if not self.swallowed:
            return False
        self.events += self.swallowed.pop(0)
        return True

    def next_wakeup(self, now):
        return None


class Owner:
    """Remembers what it was told; an event that is an exception is raised."""

    def __init__(self):
        self.told = []
        self.left = []
        self.done = []
        self.changed = threading.Condition()
        self.due = None

    def on_event(self, event, now):
        if isinstance(event, Exception):
            raise event
        with self.changed:
            self.told.append(event)
            self.changed.notify_all()

    def on_wake(self, now):
        with self.changed:
            if self.due is not None and now >= self.due:
                self.due = None
                self.done.append("due")
            self.done += self.left
            self.left.clear()
            self.changed.notify_all()

    def next_wakeup(self):
        return self.due

    def wait_for(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, 10)


@pytest.fixture
def running():
    connection, owner = Connection(), Owner()
    loop = PeerLoop(connection, owner)
    thread = threading.Thread(target=loop.run)
    thread.start()
    yield connection, owner, loop
    loop.stop()
    thread.join(10)
    assert not thread.is_alive()
    os.close(connection.read)
    os.close(connection.write)


def test_what_comes_reaches_the_owner_in_order(running):
    connection, owner, _ = running
    connection.arrive(1, 2)
    owner.wait_for(lambda: owner.told == [1, 2])


def test_an_event_that_cannot_be_handled_costs_only_itself(running, caplog):
    connection, owner, _ = running
    connection.arrive(1, KeyError("broken"), 2)
    owner.wait_for(lambda: owner.told == [1, 2])
    assert "broken" in caplog.text


def test_a_wake_is_never_lost(running):
    _, owner, loop = running
    for number in range(300):
        with owner.changed:
            owner.left.append(number)
        loop.wake()
        if number % 7 == 0:
            owner.wait_for(lambda number=number: number in owner.done)
    owner.wait_for(lambda: owner.done == list(range(300)))


def test_only_what_a_descriptor_or_a_send_tells_of_is_read(running):
    connection, owner, loop = running
    for number in range(3):
        with owner.changed:
            owner.left.append(number)
        loop.wake()
        owner.wait_for(lambda number=number: number in owner.done)
    assert connection.pumped == 1  # there may have been something before the loop began
    connection.arrive("seen")
    owner.wait_for(lambda: owner.told == ["seen"])
    assert connection.pumped == 2
    connection.swallow("first")
    connection.swallow("second")
    loop.wake()
    owner.wait_for(lambda: owner.told == ["seen", "first", "second"])
    assert connection.pumped == 4


def test_time_wakes_the_owner(running):
    _, owner, loop = running
    owner.due = 0.0
    loop.wake()
    owner.wait_for(lambda: owner.done == ["due"])


def test_what_was_left_before_the_stop_is_still_done():
    connection, owner = Connection(), Owner()
    loop = PeerLoop(connection, owner)
    owner.left.append("last")
    loop.stop()
    loop.run()
    assert owner.done == ["last"]
    assert connection.flushed == 1


def test_waking_after_the_end_does_no_harm():
    loop = PeerLoop(Connection(), Owner())
    loop.stop()
    loop.run()
    loop.wake()
    loop.stop()
