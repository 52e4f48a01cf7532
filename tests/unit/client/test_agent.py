"""How a client leaves its line. Without connections: the tests are the line's thread."""

import threading
import time

import pytest

from scaler_client import agent as module
from scaler_client.agent import Agent
from scaler_client.defined import DefinedFunctions
from scaler_client.functions import Functions
from scaler_client.serializer import DefaultSerializer
from scaler_object_storage.errors import ObjectStorageUnreachable
from scaler_protocol.addresses import Address
from scaler_protocol.batch import Encoding

ADDRESS = Address("tcp", "127.0.0.1", 1)


class Session:
    is_up = True


class Connection:
    session = Session()
    heard_at = 0.0

    def send(self, message):
        raise AssertionError(message)


class Talking(Connection):
    def __init__(self):
        self.sent = []

    def send(self, message):
        self.sent.append(message)


class Loop:
    def wake(self):
        """Nobody sleeps."""


class Thread:
    """The line's; it goes on."""

    def join(self, seconds):
        raise AssertionError("it was waited for")


class Objects:
    has_stored = False
    error = None

    def use(self, address):
        """There is none."""

    def wait_until_ready(self, seconds):
        if self.error is not None:
            raise self.error

    def delete_released(self):
        """Nothing was."""


class Line:
    def __init__(self):
        self.client_id, self.identity, self.last_batch_id, self.registered = b"c" * 16, b"Client|c", 0, None
        self.connection, self.loop, self.thread, self.objects = Connection(), Loop(), Thread(), Objects()
        self.defined = DefinedFunctions()
        self.is_ending = False
        self.leaving = []
        self.told = threading.Event()
        self.may_return = threading.Event()
        self.may_return.set()

    def begin(self, user):
        user._answered.set()

    def left(self):
        return self.told

    def leave(self, user, last_batch_id, *, in_order):
        self.leaving.append(in_order)
        self.told.set()
        self.may_return.wait(60)


@pytest.fixture
def line(monkeypatch):
    line = Line()
    monkeypatch.setattr(module, "line_for", lambda _: line)
    return line


def test_who_disconnects_waits_until_that_is_told_and_no_longer(line):
    agent = Agent(ADDRESS, DefaultSerializer(), 60.0, 2.0, is_inside=True)
    agent.start()
    line.may_return.clear()
    is_ordered = threading.Event()
    order = agent.door.order
    agent.door.order = lambda what: (order(what), is_ordered.set())

    def serve():
        is_ordered.wait(60)
        agent.on_wake(0.0)

    thread = threading.Thread(target=serve)
    thread.start()
    agent.disconnect()  # while the line's thread has not returned from `leave`

    assert line.leaving == [True]
    line.may_return.set()
    thread.join(60)


def test_a_task_fails_when_nothing_was_heard_for_the_timeout_since_the_last_word(line):
    line.connection = Talking()
    agent = Agent(ADDRESS, DefaultSerializer(), 60.0, 2.0)
    agent.start()
    begin = time.monotonic()
    agent.on_wake(begin)
    assert agent.next_wakeup() is None
    function = Functions(DefaultSerializer()).of(abs)
    future = agent.door.add_call(function, Encoding.VALUES, -1, size=0, priority=0, timed=False, capabilities={})
    agent.on_wake(begin)
    assert agent.next_wakeup() == begin + 60

    for second in range(1, 60):
        line.connection.heard_at = begin + min(second, 30)
        agent.on_wake(begin + second)
    agent.on_wake(begin + 60)
    assert not future.done()
    assert agent.next_wakeup() == begin + 90  # it has moved on meanwhile

    for second in range(61, 90):
        agent.on_wake(begin + second)
    assert not future.done()
    agent.on_wake(begin + 90)
    assert isinstance(future.exception(0), TimeoutError)
    assert agent.next_wakeup() is None


def test_a_client_that_has_not_begun_leaves_nothing_to_the_next(line):
    line.objects.error = ObjectStorageUnreachable("no answer")
    line.told.set()
    agent = Agent(ADDRESS, DefaultSerializer(), 60.0, 2.0, is_inside=True)
    with pytest.raises(ObjectStorageUnreachable):
        agent.start()

    agent.on_wake(0.0)

    assert line.leaving == [False]
