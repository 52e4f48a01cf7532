"""What hostile or broken peers do to a socket, each by itself. None may stop, fill or confuse the process behind it."""

import pickle
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from random import Random

from scaler_protocol import codec
from scaler_protocol import messages as m
from scaler_protocol import storage_messages as sm
from scaler_protocol.batch import U32, Encoding, column
from scaler_protocol.errors import ProtocolError
from tests.fuzz.mutations import mutate_frames
from tests.fuzz.peers import packet, register
from tests.fuzz.records import kinds_of, message, record
from tests.fuzz.slow_readers import (
    unread_chunks,
    unread_reports,
    unread_results,
    uploads_without_end,
    waits_without_end,
)
from tests.fuzz.wire import Wire, suppressed

Attack = Callable[[str, Random], None]
"""Gets the address."""

_MESSAGES, _STORAGE = kinds_of(m.Message), kinds_of(sm.StorageMessage)
_ROLES = ("client", "worker", "host", "adapter", "", "root")


def noise(address: str, rng: Random) -> None:
    """No ZeroMQ at all: random bytes, a web browser, half a greeting."""
    for data in (
        rng.randbytes(1000),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\xff" + bytes(8) + b"\x7f",
        b"\x16\x03\x01" * 99,
    ):
        with suppressed(), Wire(address) as wire:
            wire.raw(data)


def frames(address: str, rng: Random) -> None:
    """ZeroMQ messages of random frames."""
    with suppressed(), Wire(address) as wire:
        wire.greet()
        for _ in range(200):
            wire.message([rng.randbytes(8 * rng.randrange(40)) for _ in range(rng.randrange(1, 5))])


def huge_lengths(address: str, rng: Random) -> None:
    """Frames that say that they are huge."""
    for size in (1 << 27, 1 << 40, 1 << 62, (1 << 64) - 1):
        with suppressed(), Wire(address) as wire:
            wire.greet()
            wire.claim(size)
            wire.raw(bytes(1000))


def many_parts(address: str, rng: Random) -> None:
    """A message of very many small frames."""
    with suppressed(), Wire(address) as wire:
        wire.greet()
        for _ in range(2000):
            wire.raw(struct.pack(">BB", 1, 0) * 20)
        wire.frame(b"")


def lists(address: str, rng: Random) -> None:
    """Cap'n Proto lists that claim to be long while they take no bytes, and pointers deep and in circles."""
    bodies = struct.pack("<IHH", 0, 2, 1) + bytes(16)
    for pointer in (
        struct.pack("<II", 1, (1 << 29) - 1 << 3 | 0),  # elements of size zero
        struct.pack("<II", 1, (1 << 29) - 1 << 3 | 7),
        struct.pack("<II", 0xFFFFFFFC, 0xFFFF),
        struct.pack("<ii", -4, 0x00010001),
    ):
        words = bodies + pointer + bytes(64)
        with suppressed(), Wire(address) as wire:
            wire.greet()
            for _ in range(20):
                wire.message([struct.pack("<II", 0, len(words) // 8) + words])


def nested(address: str, rng: Random) -> None:
    """Cap'n Proto structs within structs, and lists within lists, deeper than anybody should follow."""
    for pointer in (struct.pack("<IHH", 0, 0, 1), struct.pack("<II", 1, 1 << 3 | 6)):
        words = struct.pack("<IHH", 0, 2, 1) + bytes(16) + pointer * 100_000 + bytes(64)
        with suppressed(), Wire(address) as wire:
            wire.greet()
            for _ in range(20):
                wire.message([struct.pack("<II", 0, len(words) // 8) + words])


def damaged(address: str, rng: Random) -> None:
    """Messages that were valid, of a peer that has registered in some role."""
    for role in _ROLES[:4]:
        with suppressed(), Wire(address) as wire:
            wire.greet()
            wire.message(packet(register(role)))
            for number in range(1, 60):
                _send_damaged(wire, rng, number)


def _send_damaged(wire: Wire, rng: Random, number: int) -> None:
    try:
        valid = packet(message(rng, _MESSAGES), first=number)
    except ProtocolError:
        return
    wire.message(mutate_frames(rng, valid) if rng.random() < 0.7 else valid)


def damaged_storage(address: str, rng: Random) -> None:
    """The same for the object storage."""
    with suppressed(), Wire(address) as wire:
        wire.greet()
        for _ in range(300):
            try:
                valid = codec.encode_storage(sm.StoragePacket([record(rng, rng.choice(_STORAGE))]))
            except ProtocolError:
                continue
            wire.message(mutate_frames(rng, valid) if rng.random() < 0.7 else valid)


def foreign_messages(address: str, rng: Random) -> None:
    """Valid messages that the role has no business to send."""
    for role in _ROLES:
        with suppressed(), Wire(address) as wire:
            wire.greet()
            wire.message(packet(register(role)))
            for number, kind in enumerate(_MESSAGES, 1):
                if kind not in {m.Register, m.RequestShutdown}:
                    with suppressed():
                        _send_plain(wire, record(rng, kind), number)


def _send_plain(wire: Wire, said: m.Message, number: int) -> None:
    try:
        wire.message(packet(said, first=number))
    except ProtocolError:
        return


def registrations(address: str, rng: Random) -> None:
    """Registers again and again, under the same name and under others, with other versions."""
    with suppressed(), Wire(address) as wire:
        wire.greet()
        mine = register()
        for _ in range(300):
            wire.message(packet(mine))
            wire.message(packet(register(rng.choice(_ROLES))))
    for heartbeat in (-1.0, float("nan"), float("inf"), 1e300):
        with suppressed(), Wire(address) as wire:
            wire.greet()
            wire.message(packet(register("host", heartbeat_seconds=heartbeat)))


def sequence_numbers(address: str, rng: Random) -> None:
    """Packets that claim to be from the far end of the sequence, or to have received what was never sent."""
    for first, acknowledged in ((2**63, 0), (2**64 - 1, 2**64 - 1), (1, 2**64 - 1), (5, 1 << 40)):
        with suppressed(), Wire(address) as wire:
            wire.greet()
            wire.message(packet(register()))
            for _ in range(10):
                wire.message(codec.encode(m.Packet(first, acknowledged, [m.AbandonBatches([1])])))


def heartbeats(address: str, rng: Random) -> None:
    """Very many heartbeats, without reading an answer."""
    with suppressed(), Wire(address) as wire:
        wire.greet()
        wire.message(packet(register()))
        many = packet(*[m.Heartbeat()] * 1000)
        for _ in range(200):
            wire.message(many)


def idle_connections(address: str, rng: Random) -> None:
    """Many connections that say nothing, or stop in the middle of a frame."""
    with ExitStack() as stack, suppressed():
        for number in range(100):
            wire = stack.enter_context(Wire(address))
            if number % 2:
                wire.greet()
                wire.claim(1 << 20)
                wire.raw(bytes(1 << 10))
        time.sleep(0.2)


def flood(address: str, rng: Random) -> None:
    """Strangers' packets as fast as they can be sent."""
    with suppressed(), Wire(address) as wire:
        wire.greet()
        one = packet(m.AbandonBatches([1, 2, 3]), first=1)
        for _ in range(5000):
            wire.message(one)


def endless_message(address: str, rng: Random) -> None:
    """One message whose last frame never comes."""
    with suppressed(), Wire(address) as wire:
        wire.greet()
        for _ in range(1200):
            wire.frame(bytes(1 << 20), more=True)
        raise AssertionError("1200 MiB of one message were taken")


def without_credit(address: str, rng: Random) -> None:
    """A client that submits without end and reads nothing."""
    payload = pickle.dumps([1])
    one, size, big = column(U32, [1]), column(U32, [len(payload)]), bytes(1 << 20)
    with suppressed(), Wire(address) as wire:
        wire.greet()
        wire.message(packet(register()))
        wire.message(packet(m.DefineFunction(b"f" * 16, "f", b"x"), first=1))
        for number in range(2, 400):
            batch = m.SubmitBatch(number, b"f" * 16, 1, Encoding.CALL, one, column(U32, [len(big)]), big)
            wire.message(packet(batch, first=number))
    with suppressed(), Wire(address) as wire:
        wire.greet()
        wire.message(packet(register()))
        for number in range(1, 200):  # a function that nobody knows: each is refused, and the answers are not read
            batches = [
                m.SubmitBatch(number * 1000 + at, b"?" * 16, 1, Encoding.VALUES, one, size, payload)
                for at in range(250)
            ]
            wire.message(codec.encode(m.Packet(1 + 250 * (number - 1), 0, batches)))


def functions(address: str, rng: Random) -> None:
    """A client that defines functions without end."""
    code = bytes(1 << 20)
    with suppressed(), Wire(address) as wire:
        wire.greet()
        wire.message(packet(register()))
        for number in range(1, 700):
            wire.message(packet(m.DefineFunction(number.to_bytes(16, "little"), "f", code), first=number))


def subscriptions(address: str, rng: Random) -> None:
    """What a monitor would never ask for."""
    with suppressed(), Wire(address) as wire:
        wire.greet(b"SUB")
        for _ in range(500):
            wire.frame(rng.choice((b"\x01", b"\x00", b"\x01topic", b"\x02", b"", rng.randbytes(500))))
        wire.claim(1 << 30)
        wire.raw(bytes(4096))


_ON_SCHEDULER: tuple[Attack, ...] = (
    noise,
    frames,
    huge_lengths,
    many_parts,
    lists,
    nested,
    damaged,
    foreign_messages,
    registrations,
    sequence_numbers,
    heartbeats,
    idle_connections,
    flood,
    without_credit,
    functions,
    unread_results,
    endless_message,
)
_ON_STORAGE: tuple[Attack, ...] = (
    noise,
    frames,
    huge_lengths,
    many_parts,
    lists,
    nested,
    damaged_storage,
    idle_connections,
    flood,
    unread_chunks,
    waits_without_end,
    uploads_without_end,
    endless_message,
)
_ON_MONITOR: tuple[Attack, ...] = (
    noise,
    frames,
    huge_lengths,
    many_parts,
    idle_connections,
    subscriptions,
    unread_reports,
)

ON = {"scheduler": _ON_SCHEDULER, "object storage": _ON_STORAGE, "monitor": _ON_MONITOR}
