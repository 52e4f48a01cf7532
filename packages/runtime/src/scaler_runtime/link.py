"""Delivery exactly once and in order between two ends of a session, over connections that break. No IO, no clock.

The sender keeps what is not acknowledged and repeats it after a reconnect; the receiver drops what it has already.
"""

from collections import deque
from itertools import islice

from scaler_protocol.messages import Message, Packet

PACKET_BYTES = 1 << 20
PACKET_MESSAGES = 256
ACKNOWLEDGE_BYTES = 256 << 10
ACKNOWLEDGE_MESSAGES = 32
_MESSAGE_BYTES = 256  # what a message takes beside its payload, roughly

_Kept = tuple[Message, int]
"""A message and about how many bytes it takes."""


class Link:
    """One end. `unacknowledged_bytes` is what is kept for the peer, sent or not."""

    __slots__ = (
        "_acknowledged",
        "_flight",
        "_outbox",
        "_owed_bytes",
        "_owed_messages",
        "_sent",
        "received",
        "unacknowledged_bytes",
    )

    def __init__(self) -> None:
        self._flight: deque[_Kept] = deque()  # sent and not acknowledged
        self._outbox: deque[_Kept] = deque()  # to be sent
        self._sent = 0  # number of the last one that is
        self._acknowledged = 0  # number of the last one that the peer has
        self.received = 0
        self.unacknowledged_bytes = 0
        self._owed_messages = 0  # received since the last acknowledgement left
        self._owed_bytes = 0

    def __str__(self) -> str:
        """Return where it stands, for people."""
        return (
            f"sent {self._sent}, unacknowledged {len(self._flight)}, to be sent {len(self._outbox)}, together "
            f"{self.unacknowledged_bytes} bytes, received {self.received}"
        )

    def put(self, message: Message) -> None:
        """Queue a message."""
        size = size_of(message)
        self._outbox.append((message, size))
        self.unacknowledged_bytes += size

    @property
    def unacknowledged_messages(self) -> int:
        """How many messages are kept for the peer, sent or not."""
        return len(self._flight) + len(self._outbox)

    def unacknowledged(self) -> list[Message]:
        """Return what is kept for the peer, in order."""
        return [message for message, _ in (*self._flight, *self._outbox)]

    @property
    def has_unsent(self) -> bool:
        """Whether `next_packet` has messages to send."""
        return bool(self._outbox)

    @property
    def owes_acknowledgement(self) -> bool:
        """Whether so much has come in that the peer should be told without waiting for something to send."""
        return self._owed_messages >= ACKNOWLEDGE_MESSAGES or self._owed_bytes >= ACKNOWLEDGE_BYTES

    def next_packet(self) -> Packet | None:
        """Return the next messages, about PACKET_BYTES of them, or None if none wait."""
        messages: list[Message] = []
        size = 0
        for _ in range(PACKET_MESSAGES):
            if not self._outbox or size >= PACKET_BYTES:
                break
            kept = self._outbox.popleft()
            self._flight.append(kept)
            messages.append(kept[0])
            size += kept[1]
        if not messages:
            return None
        first = self._sent + 1
        self._sent += len(messages)
        return self._stamped(Packet(first, 0, messages))

    def unsequenced(self, *messages: Message) -> Packet:
        """Return a packet outside the sequence; without messages it is a bare acknowledgement."""
        return self._stamped(Packet(0, 0, list(messages)))

    def unsend(self, packet: Packet) -> None:
        """Take back the packet made last: it could not be handed to the socket."""
        if packet.first_sequence:
            for _ in packet.messages:
                self._outbox.appendleft(self._flight.pop())
            self._sent -= len(packet.messages)

    def rewind(self, received: int) -> None:
        """Repeat everything after `received`, which the peer has: the connection is a new one."""
        self.on_acknowledged(received)
        self._outbox.extendleft(reversed(self._flight))
        self._sent -= len(self._flight)
        self._flight.clear()

    def on_acknowledged(self, sequence: int) -> None:
        """Forget what the peer has."""
        while self._acknowledged < sequence and self._flight:
            self._acknowledged += 1
            self.unacknowledged_bytes -= self._flight.popleft()[1]

    def has_gap_before(self, packet: Packet) -> bool:
        """Whether messages between those received and these of the packet are missing."""
        return packet.first_sequence > self.received + 1

    def accept(self, packet: Packet) -> list[Message]:
        """Return the messages of the packet that are new; none behind a gap: they come again after a `rewind`."""
        self.on_acknowledged(packet.acknowledged)
        if not packet.first_sequence:
            return packet.messages
        known = self.received + 1 - packet.first_sequence
        if known < 0 or known >= len(packet.messages):
            return []
        fresh = packet.messages if known == 0 else list(islice(packet.messages, known, None))
        count = len(fresh)
        self.received += count
        self._owed_messages += count
        self._owed_bytes += sum(map(size_of, fresh))
        return fresh

    def _stamped(self, packet: Packet) -> Packet:
        packet.acknowledged = self.received
        self._owed_messages = self._owed_bytes = 0
        return packet


def size_of(message: Message) -> int:
    """Return about how many bytes the message takes."""
    return _MESSAGE_BYTES + len(getattr(message, "payload", b""))
