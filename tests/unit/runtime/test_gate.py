"""Who is turned away when descriptors run out, also where word of a connection comes after its end. Made-up events."""

import contextlib
import os
import socket
from collections import deque

import pytest
import zmq

from scaler_runtime import gate as module
from scaler_runtime.gate import Gate


class Monitor:
    """Tells what was put into it. As ZeroMQ's does, its descriptor says only that something is new."""

    def __init__(self):
        self.events = deque()
        self._edge = os.eventfd(0, os.EFD_NONBLOCK)

    def tell(self, kind, descriptor):
        self.events.append({"event": kind, "value": descriptor})
        os.eventfd_write(self._edge, 1)

    def fileno(self):
        return self._edge

    def get(self, _):
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._edge)
        return zmq.POLLIN if self.events else 0

    def close(self, _):
        os.close(self._edge)


class Watched:
    def __init__(self):
        self.monitor = Monitor()

    def get_monitor_socket(self, _):
        return self.monitor

    def disable_monitor(self):
        """Nothing is watched."""

    def tell(self, kind, descriptor):
        self.monitor.tell(kind, descriptor)


@pytest.fixture
def watched(monkeypatch):
    monkeypatch.setattr(module, "recv_monitor_message", lambda monitor: monitor.events.popleft())
    return Watched()


@pytest.fixture
def gate(watched):
    gate = Gate(watched)
    yield gate
    gate.close()


def is_shut(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False


def test_who_gets_one_of_the_last_descriptors_is_turned_away(gate, watched):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        gate._first_reserved = ours.fileno() + 1
        watched.tell(zmq.EVENT_ACCEPTED, ours.fileno())
        assert gate.lost_connections() == []
        assert not is_shut(theirs)

        gate._first_reserved = ours.fileno()
        watched.tell(zmq.EVENT_ACCEPTED, ours.fileno())
        assert gate.lost_connections() == []

        assert is_shut(theirs)
        assert "1 connections were turned away" in next(gate.watch(0.0))


@pytest.mark.parametrize("is_file", [False, True], ids=["closed", "a file's"])
def test_one_that_ended_before_its_beginning_was_told_costs_the_others_nothing(gate, watched, is_file):
    number = os.open(os.devnull, os.O_RDONLY)
    if not is_file:
        os.close(number)
    gate._first_reserved = number
    watched.tell(zmq.EVENT_ACCEPTED, number)
    watched.tell(zmq.EVENT_DISCONNECTED, number)
    watched.tell(zmq.EVENT_DISCONNECTED, 1000)

    assert gate.lost_connections() == [number, 1000]

    if is_file:
        os.close(number)


def test_of_many_events_at_once_some_wait_for_the_next_turn_which_needs_no_new_edge(gate, watched):
    number = module._EVENTS_PER_TURN + 50
    for descriptor in range(1000, 1000 + number):
        watched.tell(zmq.EVENT_DISCONNECTED, descriptor)

    first = gate.lost_connections()
    assert gate.is_busy
    second = gate.lost_connections()

    assert not gate.is_busy
    assert first + second == list(range(1000, 1000 + number))
    watched.tell(zmq.EVENT_DISCONNECTED, 7)
    assert gate.lost_connections() == [7]
