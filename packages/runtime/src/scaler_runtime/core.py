"""The shape of every program: a core without IO takes events and returns effects; a driver carries them out.

A core reads no clock, no socket and no random source. Time comes in as `now` (seconds of a monotonic clock).
"""

from dataclasses import dataclass
from typing import Protocol

from scaler_protocol.messages import Message, Register

Peer = bytes
"""A peer is named by its session id."""


# ---- events of a server's core


@dataclass(slots=True)
class PeerJoined:
    """A peer has registered and starts from the beginning."""

    peer: Peer
    register: Register


@dataclass(slots=True)
class PeerAttached:
    """The connection of a known peer is back; what was sent meanwhile is delivered."""

    peer: Peer


@dataclass(slots=True)
class PeerDetached:
    """The connection of a peer is gone; its session waits for it."""

    peer: Peer


@dataclass(slots=True)
class PeerLeft:
    """A peer is gone for good: it said so (`orderly`), was silent for too long, or its connection stayed away."""

    peer: Peer
    reason: str
    orderly: bool = False


@dataclass(slots=True)
class Received:
    """One message, exactly once and in the order it was sent in."""

    peer: Peer
    message: Message


@dataclass(slots=True)
class Congested:
    """More bytes wait for this peer than it takes; nothing avoidable should be sent to it until `Relieved`."""

    peer: Peer


@dataclass(slots=True)
class Relieved:
    """The peer has caught up."""

    peer: Peer


@dataclass(slots=True)
class EndAsked:
    """The server is to end for good: nobody will start it again, its peers shall know."""

    reason: str


@dataclass(slots=True)
class Settle:
    """No more input waits at this moment: time to decide. Comes after every group of events and at each wake-up."""


Event = PeerJoined | PeerAttached | PeerDetached | PeerLeft | Received | Congested | Relieved | EndAsked | Settle


# ---- effects


@dataclass(slots=True)
class Send:
    """Deliver a message to a peer, in order with all others to it; nothing happens where the peer is gone."""

    peer: Peer
    message: Message


@dataclass(slots=True)
class Log:
    """Write one line; `level` is a number of the logging module."""

    level: int
    text: str


@dataclass(slots=True)
class Vouch:
    """Keep a peer's session without a sign of life of it, and without a connection, as long as it is vouched for."""

    peer: Peer
    vouched: bool


@dataclass(slots=True)
class EndSession:
    """A peer shall not go on: it is told, if it is still there, and has left (`PeerLeft`)."""

    peer: Peer
    reason: str


@dataclass(slots=True)
class DeleteObjects:
    """Have these objects removed from the object storage; nobody will ask for them."""

    keys: list[bytes]


@dataclass(slots=True)
class DeleteOwner:
    """Have all objects of this owner removed from the object storage."""

    owner: bytes


@dataclass(slots=True)
class Stop:
    """End the program in order, after everything sent has left."""

    reason: str


Effect = Send | Log | Vouch | EndSession | DeleteObjects | DeleteOwner | Stop


class Core(Protocol):
    """State and decisions of a server."""

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take in one event; the effects are to be carried out in their order."""
        ...

    def next_wakeup(self) -> float | None:
        """Return when `Settle` is wanted at the latest, None for never."""
        ...
