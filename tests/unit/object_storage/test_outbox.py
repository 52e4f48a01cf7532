"""Peers that do not read cost little, and others nothing."""

from scaler_object_storage.outbox import MAX_WAITING_BYTES, MAX_WAITING_MESSAGES, Outbox
from scaler_runtime.transport import SendResult


class Wire:
    def __init__(self):
        self.sent = []
        self.full = set()
        self.gone = set()

    def send(self, route, frames):
        if route in self.gone:
            return SendResult.UNREACHABLE
        if route in self.full:
            return SendResult.FULL
        self.sent.append((route, frames))
        return SendResult.SENT


def test_what_is_taken_does_not_wait():
    wire = Wire()
    outbox = Outbox(wire.send)

    assert outbox.send(b"a", [b"1"])

    assert wire.sent == [(b"a", [b"1"])]
    assert not outbox


def test_what_waits_keeps_its_order_and_nobody_else_waits():
    wire = Wire()
    outbox = Outbox(wire.send)
    wire.full.add(b"a")
    outbox.send(b"a", [b"1"])
    wire.full.clear()

    outbox.send(b"a", [b"2"])
    outbox.send(b"b", [b"3"])
    assert wire.sent == [(b"b", [b"3"])]
    assert outbox

    outbox.flush()
    assert wire.sent[1:] == [(b"a", [b"1"]), (b"a", [b"2"])]
    assert not outbox


def test_a_peer_that_reads_nothing_loses_everything():
    wire = Wire()
    outbox = Outbox(wire.send)
    wire.full.add(b"a")
    chunk = bytes(MAX_WAITING_BYTES // 4)

    taken = [outbox.send(b"a", [chunk]) for _ in range(5)]

    assert taken == [True, True, True, True, False]
    assert not outbox


def test_small_messages_are_bounded_too():
    wire = Wire()
    outbox = Outbox(wire.send)
    wire.full.add(b"a")

    taken = [outbox.send(b"a", [b""]) for _ in range(MAX_WAITING_MESSAGES + 1)]

    assert taken.count(False) == 1


def test_what_waits_for_a_lost_peer_is_forgotten():
    wire = Wire()
    outbox = Outbox(wire.send)
    wire.full.add(b"a")
    outbox.send(b"a", [b"1"])
    wire.gone.add(b"a")

    outbox.flush()

    assert not outbox
