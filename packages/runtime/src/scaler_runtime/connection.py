"""A peer's connection to the scheduler: DEALER socket and session together, usable from any kind of loop.

Whoever owns it watches `filenos()`, calls `pump` when one is readable or after sending, and `flush` when it has sent.
"""

import contextlib
import logging
from collections.abc import Iterator

import zmq

from scaler_protocol import codec
from scaler_protocol.addresses import Address
from scaler_protocol.errors import ProtocolError
from scaler_protocol.messages import Heartbeat, Leave, Message, Registered
from scaler_runtime.dump import age
from scaler_runtime.session import Identity, Session, SessionEvent, Up
from scaler_runtime.throttle import Throttle
from scaler_runtime.transport import DealerSocket, SendResult

_RETRY_SECONDS = 0.01
_log = logging.getLogger(__name__)


class Connection:
    """See the module. Not thread-safe: one thread owns it."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        address: Address,
        identity: Identity,
        heartbeat_seconds: float | None,
    ) -> None:
        self.address = address
        self.session = Session(identity, heartbeat_seconds)
        self.heard_at: float | None = None
        """When the scheduler was heard last, by the clock given to `pump`; None before the first time."""
        self.round_trip_seconds = 0.0
        """From the last heartbeat to its answer; zero before the first."""
        self.dropped = 0
        """Malformed messages since the start."""
        self._socket = DealerSocket(context, address)
        self._heartbeat_seconds = heartbeat_seconds
        self._beat_at = 0.0
        self._beaten_at: float | None = None  # of the heartbeat whose answer is awaited
        self._blocked = False
        self._throttle = Throttle()

    def filenos(self) -> tuple[int, int]:
        """Return the descriptors to watch for reading."""
        return self._socket.filenos()

    def describe(self, now: float) -> Iterator[str]:
        """Return where it stands, for people."""
        yield f"to {self.address}: {self.session}"
        yield f"heard {age(self.heard_at, now)}, round trip {self.round_trip_seconds:.6f} s, dropped {self.dropped}"

    def pump(self, now: float) -> list[SessionEvent]:
        """Read everything that waits and return what it means."""
        events: list[SessionEvent] = []
        for connected in self._socket.connection_changes():
            if connected:
                self.session.on_connected()
            else:
                events += self.session.on_disconnected()
        while (frames := self._socket.receive()) is not None:
            self.heard_at = now
            try:
                packet = codec.decode(frames)
                events += self.session.on_packet(packet)
            except ProtocolError as error:
                self.dropped += 1
                if self._throttle.allows("malformed", now):
                    _log.warning("dropped a malformed message of the scheduler at %s: %s", self.address, error)
                events += self.session.on_malformed()
                continue
            if self._beaten_at is not None and packet.messages and isinstance(packet.messages[0], Heartbeat):
                self.round_trip_seconds = now - self._beaten_at
                self._beaten_at = None
        for event in events:
            if isinstance(event, Up):
                self._complete(event.registered)
        return events

    def _complete(self, registered: Registered) -> None:
        """A server that listens everywhere does not know by which name this peer reaches its machine."""
        told = registered.object_storage_address
        with contextlib.suppress(ValueError):
            registered.object_storage_address = str(Address.from_string(told).seen_from(self.address))

    def send(self, message: Message) -> None:
        """Queue a message; `flush` hands it over. Before the first registration it is dropped."""
        self.session.send(message)

    def flush(self, now: float) -> bool:
        """Hand over what is queued, with a heartbeat when due. Returns whether input waits: then `pump` again."""
        if not self.session.is_up:  # what was sent before is not answered
            self._beaten_at = None
        if self._heartbeat_seconds is not None and now >= self._beat_at:
            self._beat_at = now + self._heartbeat_seconds
            self.session.beat()
            if self._beaten_at is None and self.session.is_up:
                self._beaten_at = now
        self._blocked = False
        has_sent = False
        for packet in self.session.packets():
            has_sent = True
            if self._socket.send(codec.encode(packet)) is not SendResult.SENT:
                self.session.unsend(packet)
                self._blocked = True
                break
        return has_sent and self._socket.has_input()

    def next_wakeup(self, now: float) -> float | None:
        """Return when `flush` is wanted at the latest."""
        if self._blocked:
            return now + _RETRY_SECONDS
        return self._beat_at if self._heartbeat_seconds is not None else None

    def close(self, reason: str = "", linger_seconds: float = 0.0) -> None:
        """Close; with a reason the scheduler is told that this peer leaves for good, within `linger_seconds`."""
        if reason and self.session.is_up:
            self.session.send(Leave(reason))
            for packet in self.session.packets():
                if self._socket.send(codec.encode(packet)) is not SendResult.SENT:
                    break
        self._socket.close(int(linger_seconds * 1000))
