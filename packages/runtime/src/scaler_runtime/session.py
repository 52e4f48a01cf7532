"""A peer's side of its session with the scheduler: register, also after every reconnect, and notice a new scheduler.

No IO and no clock of its own. Whoever owns a session says everything again after `Registered(fresh=True)`.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from scaler_protocol import messages as m
from scaler_protocol.identifiers import new_id, short_host_name
from scaler_runtime.link import Link

PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(slots=True)
class Identity:
    """Who this end is. `session_id` names it to everyone, `secret` proves it to the scheduler.

    `parent_worker` and `parent_incarnation` are of the worker's process that a client inside a task lives in.
    """

    role: m.Role
    name: str
    session_id: bytes = field(default_factory=new_id)
    secret: bytes = field(default_factory=new_id)
    parent_worker: str = ""
    parent_incarnation: int = 0


@dataclass(slots=True)
class Up:
    """Registered. `fresh`: the scheduler knows nothing of what was said before, or nothing was."""

    fresh: bool
    registered: m.Registered
    unheard: list[m.Message] = field(default_factory=list[m.Message])
    """Of a fresh start: what was said to a scheduler before this one, which did not confirm it. It is not repeated."""


@dataclass(slots=True)
class Down:
    """The connection is gone; it is sought again all the time."""


@dataclass(slots=True)
class Rejected:
    """The scheduler will not have this peer. Final."""

    reason: str


@dataclass(slots=True)
class Incoming:
    """One message, exactly once and in order."""

    message: m.Message


SessionEvent = Up | Down | Rejected | Incoming

MAX_REPEATS = 3
"""So often the scheduler is asked to repeat the same messages; then they cannot be read however often it does."""


class Session:
    """See the module. `is_up` tells whether messages flow."""

    def __init__(self, identity: Identity, heartbeat_seconds: float | None = None) -> None:
        self.identity = identity
        self._heartbeat_seconds = heartbeat_seconds or 0.0
        self.instance_id = b""
        self.is_up = False
        self._link = Link()
        self._control: list[m.Packet] = []
        self._repeats = (0, 0)  # what had been received when a repetition was asked for, and how often

    def send(self, message: m.Message) -> None:
        """Queue a message for the scheduler instance that is known; before the first registration it is dropped."""
        if self.instance_id:
            self._link.put(message)

    def beat(self) -> None:
        """Queue a sign of life, which also tells the scheduler what has been received."""
        if self.is_up:
            self._control.append(self._link.unsequenced(m.Heartbeat()))

    @property
    def unacknowledged_bytes(self) -> int:
        """Bytes that the scheduler has not confirmed."""
        return self._link.unacknowledged_bytes

    def __str__(self) -> str:
        """Return where it stands, for people."""
        known = self.instance_id.hex()[:8] or "none"
        return f"{'up' if self.is_up else 'down'}, scheduler instance {known}, {self._link}"

    def on_connected(self) -> None:
        """Register: a connection has just been made."""
        self.is_up = False
        self._control = [m.Packet(0, 0, [self._register()])]

    def on_disconnected(self) -> list[SessionEvent]:
        """Stop sending until the next registration."""
        was_up, self.is_up = self.is_up, False
        self._control.clear()
        return [Down()] if was_up else []

    def on_malformed(self) -> list[SessionEvent]:
        """Register again: a packet that came could not be read, the scheduler shall repeat it and all after it."""
        received, times = self._repeats
        self._repeats = (self._link.received, times + 1 if received == self._link.received else 1)
        if self._repeats[1] > MAX_REPEATS:
            self.is_up = False
            self._control.clear()
            return [Rejected("what the scheduler says cannot be read")]
        self.on_connected()
        return []

    def on_packet(self, packet: m.Packet) -> list[SessionEvent]:
        """Take in a packet of the scheduler's; the last ones of a connection may come after word of its end."""
        if self.is_up and self._link.has_gap_before(packet):
            return self.on_malformed()
        messages = self._link.accept(packet)
        if packet.first_sequence:
            return [Incoming(message) for message in messages]
        events: list[SessionEvent] = []
        for message in messages:
            if isinstance(message, m.Registered):
                events.append(self._on_registered(message))
            elif isinstance(message, m.RegisterFirst):
                self.on_connected()
            elif isinstance(message, m.Refused):
                self.is_up = False
                events.append(Rejected(message.reason))
        return events

    def packets(self) -> Iterator[m.Packet]:
        """Give out what is to be sent now; a packet that cannot be sent goes back with `unsend`."""
        while self._control:
            yield self._control.pop(0)
        while self.is_up and (packet := self._link.next_packet()):
            yield packet
        if self.is_up and self._link.owes_acknowledgement:
            yield self._link.unsequenced()

    def unsend(self, packet: m.Packet) -> None:
        """Keep the packet given out last for later."""
        if packet.first_sequence:
            self._link.unsend(packet)
        elif packet.messages:
            self._control.insert(0, packet)

    def _on_registered(self, registered: m.Registered) -> Up:
        fresh = not registered.resumed or registered.instance_id != self.instance_id
        unheard: list[m.Message] = []
        if fresh:
            unheard = self._link.unacknowledged()
            self._link = Link()
            self.instance_id = registered.instance_id
        else:
            self._link.rewind(registered.received)
        self.is_up = True
        return Up(fresh, registered, unheard)

    def _register(self) -> m.Register:
        return m.Register(
            role=self.identity.role,
            session_id=self.identity.session_id,
            secret=self.identity.secret,
            product=m.PRODUCT,
            protocol_version=m.PROTOCOL_VERSION,
            python_version=PYTHON_VERSION,
            name=self.identity.name,
            host_name=short_host_name(),
            pid=os.getpid(),
            instance_id=self.instance_id,
            received=self._link.received,
            heartbeat_seconds=self._heartbeat_seconds,
            parent_worker=self.identity.parent_worker,
            parent_incarnation=self.identity.parent_incarnation,
        )
