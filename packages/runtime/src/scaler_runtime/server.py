"""The driver of a server: one ROUTER socket, its sessions and a core, on asyncio but not on zmq.asyncio.

The socket's descriptor is edge-triggered: it is drained until empty, a few hundred messages a turn, and asked again
after every send. An exception in the core never ends the server: the event is dropped, counted and logged.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from scaler_protocol import codec
from scaler_protocol.errors import ProtocolError
from scaler_protocol.messages import Message
from scaler_runtime.core import (
    Core,
    DeleteObjects,
    DeleteOwner,
    EndAsked,
    EndSession,
    Event,
    Log,
    Send,
    Settle,
    Stop,
    Vouch,
)
from scaler_runtime.sessions import Sessions
from scaler_runtime.throttle import Throttle
from scaler_runtime.transport import RouterSocket, SendResult
from scaler_runtime.wakeups import earliest

MESSAGES_PER_TURN = 512
_RETRY_SECONDS = 0.01
_FIRST_DOUBT_SECONDS = 0.01
_LAST_DOUBT_SECONDS = 4.0
_LINGER_SECONDS = 1.0
_LAST_WORDS_SECONDS = 5.0  # as long as something waits to be read, it may be of a connection that has ended
_SHOWN_BYTES = 8  # of a route, which a stranger can make long
_log = logging.getLogger(__name__)


class Objects(Protocol):
    """Who removes objects from the object storage; neither call waits."""

    def delete(self, keys: list[bytes]) -> None:
        """Have objects removed."""
        ...

    def delete_owner(self, owner: bytes) -> None:
        """Have all objects of an owner removed."""
        ...


class Server:
    """Runs a core behind a bound socket until the core, or `stop`, ends it."""

    def __init__(
        self,
        socket: RouterSocket,
        core: Core,
        sessions: Sessions,
        objects: Objects | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take over a bound socket. Without `objects` nothing is removed."""
        self._socket = socket
        self.address = self._socket.address
        self.dropped = 0
        """Malformed messages and events whose handling failed, since the start."""
        self.received: defaultdict[type[Message], int] = defaultdict(int)
        self.sent: defaultdict[type[Message], int] = defaultdict(int)
        """Messages of each kind since the start, repeated ones too."""
        self._core = core
        self._sessions = sessions
        self._objects = objects
        self._clock = clock
        self._route_at: dict[int, bytes] = {}  # descriptor of a connection -> its route
        self._doubtful: dict[bytes, tuple[float, float]] = {}  # route -> when to ask for it again, the pause after that
        self._gone: dict[bytes, float] = {}  # route without a connection -> until when what came by it may be read
        self._throttle = Throttle()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._due: float | None = None  # when a turn is wanted; the timer may be earlier
        self._watcher: asyncio.TimerHandle | None = None
        self._stopped = asyncio.Event()
        self._blocked = False

    async def run(self) -> None:
        """Serve until stopped, then deliver what was sent and close."""
        loop = asyncio.get_running_loop()
        descriptors = self._socket.filenos()
        for descriptor in descriptors:
            loop.add_reader(descriptor, self._turn)
        self._turn()
        try:
            await self._stopped.wait()
        finally:
            for descriptor in descriptors:
                loop.remove_reader(descriptor)
            for timer in (self._timer, self._watcher):
                if timer is not None:
                    timer.cancel()
            self._flush(self._clock())
            self._socket.close(int(_LINGER_SECONDS * 1000))

    def describe_sessions(self, now: float) -> Iterable[str]:
        """Return a line for each peer, for people."""
        return self._sessions.describe(now)

    def stop(self) -> None:
        """End `run`."""
        self._stopped.set()

    def end(self, reason: str) -> None:
        """Let the core take leave of its peers and end `run`."""
        self._handle(EndAsked(reason), self._clock())

    def _turn(self) -> None:
        if self._stopped.is_set():
            return
        now = self._clock()
        lost = [(descriptor, self._route_at.pop(descriptor, None)) for descriptor in self._socket.lost_connections()]
        for _ in range(MESSAGES_PER_TURN):
            received = self._socket.receive(self._sessions.knows)
            if received is None:
                self._detach_gone(now, is_all_read=True)
                break
            self._receive(*received, now)
        else:
            self._detach_gone(now, is_all_read=False)
        for descriptor, route in lost:  # after its last words: a peer that leaves closes at once
            self._doubt(route, now)
            self._doubt(self._route_at.get(descriptor), now)  # who came in this turn, before that end or after it
        if self._doubtful:
            self._doubt_again(now)
        if self._watcher is None:
            self._watch()
        for event in self._sessions.expire(now):
            self._handle(event, now)
        self._handle(_SETTLE, now)
        self._flush(now)
        self._schedule(now)

    def _detach_gone(self, now: float, *, is_all_read: bool) -> None:
        """Take note of connections that have ended, once nothing waits to be read of what came by them.

        The last word of a peer that leaves would count for nothing once its session has no route. But somebody who
        never stops talking must not keep the end of all others from being noticed.
        """
        for route, until in list(self._gone.items()) if self._gone else ():
            if is_all_read or now >= until:
                del self._gone[route]
                for event in self._sessions.unreachable(route, now):
                    self._handle(event, now)

    def _watch(self) -> None:
        """Look at the connections again and again, as long as there is one: that costs less than a turn."""
        self._watcher = None
        now = self._clock()
        for line in self._socket.watch(now):
            if self._throttle.allows("gate", now):
                _log.warning("%s", line)
        due = self._socket.watch_at
        if due is not None:
            self._watcher = asyncio.get_running_loop().call_later(max(0.0, due - now), self._watch)

    def _receive(self, route: bytes, frames: list[bytes], descriptor: int, now: float) -> None:
        try:
            packet = codec.decode(frames)
        except ProtocolError as error:
            self._drop(route, f"malformed message: {error}", now)
            return
        for message in packet.messages:
            self.received[type(message)] += 1
        for event in self._sessions.receive(route, packet, now):
            self._handle(event, now)
        if self._sessions.refusals:
            self._log_refusals(now)
        if descriptor >= 0 and self._sessions.knows(route):
            former = self._route_at.get(descriptor)
            self._route_at[descriptor] = route
            if former != route:  # the system used the number again
                self._doubt(former, now)

    def _doubt(self, route: bytes | None, now: float, pause: float = _FIRST_DOUBT_SECONDS) -> None:
        """Ask the socket whether there is still a connection behind a route, and take note if not.

        If there is, it is asked again a few times: libzmq gives word of an end before the socket itself knows of it.
        """
        self._doubtful.pop(route or b"", None)
        if route is None or not self._sessions.knows(route):
            return
        if self._socket.send(route, _PROBE) is SendResult.UNREACHABLE:
            self._gone.setdefault(route, now + _LAST_WORDS_SECONDS)
        elif pause <= _LAST_DOUBT_SECONDS:
            self._doubtful[route] = now + pause, 2 * pause

    def _doubt_again(self, now: float) -> None:
        for route, (due, pause) in list(self._doubtful.items()):
            if now >= due:
                self._doubt(route, now, pause)

    def _log_refusals(self, now: float) -> None:
        for refusal in self._sessions.refusals:
            if self._throttle.allows(refusal, now):
                _log.warning("%s", refusal)
        self._sessions.refusals.clear()

    def _handle(self, event: Event, now: float) -> None:
        try:
            effects = self._core.handle(event, now)
        except Exception:  # noqa: BLE001 - nothing that a peer sends ends a server
            self.dropped += 1
            if self._throttle.allows("handler", now):
                _log.exception("dropped an event that could not be handled: %.500r", event)
            return
        for effect in effects:
            if isinstance(effect, Send):  # as nearly all are
                for consequence in self._sessions.send(effect.peer, effect.message):
                    self._handle(consequence, now)
            else:
                self._carry_out(effect, now)

    def _carry_out(self, effect: Log | Vouch | EndSession | DeleteObjects | DeleteOwner | Stop, now: float) -> None:
        if isinstance(effect, Log):
            _log.log(effect.level, "%s", effect.text)
        elif isinstance(effect, Vouch):
            self._sessions.vouch(effect.peer, vouched=effect.vouched, now=now)
        elif isinstance(effect, EndSession):
            for event in self._sessions.end(effect.peer, effect.reason):
                self._handle(event, now)
        elif isinstance(effect, DeleteObjects):
            if self._objects is not None:
                self._objects.delete(effect.keys)
        elif isinstance(effect, DeleteOwner):
            if self._objects is not None:
                self._objects.delete_owner(effect.owner)
        else:
            _log.info("stopping: %s", effect.reason)
            self._stopped.set()

    def _flush(self, now: float) -> None:
        self._blocked = False
        for route, packet in self._sessions.outgoing():
            try:
                frames = codec.encode(packet)
            except ProtocolError as error:  # a fault of ours: this peer has to begin anew, the others go on
                _log.error("a message to peer %s cannot be written: %s", route[:_SHOWN_BYTES].hex(), error)
                for event in self._sessions.drop(route, "a message to it could not be written"):
                    self._handle(event, now)
                continue
            result = self._socket.send(route, frames)
            if result is SendResult.FULL:
                self._blocked = True
                self._sessions.unsend(route, packet)
            elif result is SendResult.UNREACHABLE:
                self._sessions.unsend(route, packet)
                self._gone.setdefault(route, now + _LAST_WORDS_SECONDS)
            else:
                for message in packet.messages:
                    self.sent[type(message)] += 1

    def _schedule(self, now: float) -> None:
        if self._gone or self._socket.has_input():
            asyncio.get_running_loop().call_soon(self._turn)
            return
        self._due = earliest(
            self._core.next_wakeup(),
            self._sessions.next_wakeup(),
            now + _RETRY_SECONDS if self._blocked else None,
            min(self._doubtful.values())[0] if self._doubtful else None,
        )
        if self._timer is not None and (self._due is None or self._due < self._timer_at):
            self._timer.cancel()
            self._timer = None
        if self._timer is None and self._due is not None:  # one that is too early is left: it is mostly put off again
            self._set_timer(self._due, now)

    def _set_timer(self, due: float, now: float) -> None:
        self._timer_at = due
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due - now), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = self._clock()
        if self._due is not None and self._due > now:
            self._set_timer(self._due, now)
        else:
            self._turn()

    def _drop(self, route: bytes, reason: str, now: float) -> None:
        self.dropped += 1
        if self._throttle.allows(route if self._sessions.knows(route) else "strangers", now):
            _log.warning("dropped from peer %s: %s", route[:_SHOWN_BYTES].hex(), reason)


_SETTLE = Settle()
_PROBE: list[Any] = codec.encode(codec.EMPTY_PACKET)
