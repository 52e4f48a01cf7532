"""The scheduler's side of all sessions: who is behind which connection, who has gone, who is not to be let in. No IO.

A ROUTER socket gives each connection a fresh route, also after a reconnect: the session is the identity, not the route.
"""

import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf

from scaler_protocol import messages as m
from scaler_runtime.core import (
    Congested,
    Event,
    Peer,
    PeerAttached,
    PeerDetached,
    PeerJoined,
    PeerLeft,
    Received,
    Relieved,
)
from scaler_runtime.dump import age
from scaler_runtime.link import Link
from scaler_runtime.session import MAX_REPEATS, PYTHON_VERSION

CONGESTED_BYTES = 32 << 20
RELIEVED_BYTES = 16 << 20
MAX_PEERS = 50_000
MAX_UNACKNOWLEDGED_MESSAGES = 600_000
"""A peer that lets more pile up is sent away. No honest one does: a client's outcomes are fewer than its credit.

So many take more than CONGESTED_BYTES, whatever is in them: they are counted only where that is so.
"""

_CHECK_SECONDS = 1.0
_SLEEP_SECONDS = 2.0
"""`expire` is called more often than that, as long as there is a peer; else this process was stopped, or starved."""
_SHOWN = 80  # characters of what a stranger says of itself


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a session is kept: without a sign of life, and without a connection. None: for ever.

    Three of the peer's own heartbeats are waited for in any case.
    """

    silent_seconds: float | None
    detached_seconds: float | None


@dataclass(slots=True)
class _Session:
    peer: Peer
    role: str
    name: str
    secret: bytes
    route: bytes | None
    heard_at: float
    heartbeat_seconds: float
    link: Link = field(default_factory=Link)
    detached_at: float = 0.0
    congested: bool = False
    vouched: bool = False
    """Whether it is kept without a sign of life."""
    gap_at: int = -1
    """How much had been received at the last gap: another one there means that repeating does not help."""
    repeats: tuple[int, int] = (0, 0)
    """What the peer had when it registered again on the same connection, and how often it did with that."""

    def may_repeat(self, received: int) -> bool:
        """Whether to say again what comes after `received`: a few times, so that it costs a peer something to ask."""
        place, times = self.repeats
        self.repeats = (received, times + 1 if place == received else 1)
        return self.repeats[1] <= MAX_REPEATS


class Sessions:
    """The table of sessions. Packets go in, events for the core and packets for the socket come out."""

    def __init__(
        self,
        instance_id: bytes,
        patience: Mapping[str, Patience],
        *,
        max_unfinished_tasks: int,
        max_unfinished_bytes: int,
        object_storage_address: str = "",
        max_peers: int = MAX_PEERS,
    ) -> None:
        self.instance_id = instance_id
        self._patience = patience
        self._told = (max_unfinished_tasks, max_unfinished_bytes, object_storage_address)
        self._max_peers = max_peers
        self._by_peer: dict[Peer, _Session] = {}
        self._by_route: dict[bytes, _Session] = {}
        self._control: list[tuple[bytes, m.Packet]] = []
        self._deferred: dict[bytes, m.Packet] = {}  # route -> the last answer that found its pipe full
        self._ready: dict[Peer, _Session] = {}  # has something to send and a connection
        self._next_check = 0.0
        self._awake_at = inf
        self.refusals: list[str] = []
        """Who was not let in since somebody last cleared this, and why: a line each."""

    def __len__(self) -> int:
        return len(self._by_peer)

    def knows(self, route: bytes) -> bool:
        """Whether a registered peer is behind this route."""
        return route in self._by_route

    def describe(self, now: float) -> Iterator[str]:
        """Return a line for each session, for people."""
        for session in list(self._by_peer.values()):
            state = "up" if session.route else "no connection"
            yield (
                f"{session.role} {session.name} {session.peer.hex()[:8]}: {state}, "
                f"heard {age(session.heard_at, now)}, {session.link}{', congested' if session.congested else ''}"
            )

    def receive(self, route: bytes, packet: m.Packet, now: float) -> list[Event]:
        """Take in a packet; from an unknown route only a registration counts."""
        session = self._by_route.get(route)
        if session is None or (packet.messages and type(packet.messages[0]) is m.Register):
            return self._receive_stranger(route, packet, now)
        session.heard_at = now
        if session.link.has_gap_before(packet):
            return self._on_gap(session, route, now)
        events: list[Event] = []
        answered = False
        for message in session.link.accept(packet):
            if type(message) is m.Heartbeat:
                if not answered:
                    answered = True
                    self._control.append((route, session.link.unsequenced(m.Heartbeat())))
            elif type(message) is m.Leave:
                self._forget(session)
                events.append(PeerLeft(session.peer, message.reason, orderly=True))
                return events
            else:
                events.append(Received(session.peer, message))
        if session.congested and session.link.unacknowledged_bytes <= RELIEVED_BYTES:
            session.congested = False
            events.append(Relieved(session.peer))
        if session.link.owes_acknowledgement:
            self._ready[session.peer] = session
        return events

    def send(self, peer: Peer, message: m.Message) -> list[Event]:
        """Queue a message. Says `Congested` when too much waits for the peer; a peer that is gone gets nothing."""
        session = self._by_peer.get(peer)
        if session is None:
            return []
        if session.congested and session.link.unacknowledged_messages >= MAX_UNACKNOWLEDGED_MESSAGES:
            return self.end(peer, "it does not take what it is sent")
        session.link.put(message)
        if session.route is not None:
            self._ready[peer] = session
        if not session.congested and session.link.unacknowledged_bytes > CONGESTED_BYTES:
            session.congested = True
            return [Congested(peer)]
        return []

    def outgoing(self) -> Iterator[tuple[bytes, m.Packet]]:
        """Give out what is to be sent. Answer a failed send with `unsend` before the next one."""
        if self._deferred or self._control:
            control, self._control = [*self._deferred.items(), *self._control], []
            self._deferred.clear()
            yield from control
        for peer in list(self._ready):
            session = self._ready.pop(peer, None)
            if session is None:  # it has gone since
                continue
            while session.route is not None and (packet := session.link.next_packet()):
                yield session.route, packet
                if peer in self._ready or not session.link.has_unsent:  # `unsend` put it back: wait
                    break
            else:
                if session.route is not None and session.link.owes_acknowledgement:
                    yield session.route, session.link.unsequenced()

    def unsend(self, route: bytes, packet: m.Packet) -> None:
        """The peer's pipe is full, or gone: keep the packet for the next round."""
        session = self._by_route.get(route)
        if session is None:
            return
        if packet.first_sequence:
            session.link.unsend(packet)
            self._ready[session.peer] = session
        elif any(not isinstance(message, m.Heartbeat) for message in packet.messages):
            self._deferred[route] = packet

    def drop(self, route: bytes, reason: str) -> list[Event]:
        """Forget the session behind a route."""
        session = self._by_route.get(route)
        if session is None:
            return []
        self._forget(session)
        return [PeerLeft(session.peer, reason)]

    def vouch(self, peer: Peer, *, vouched: bool, now: float) -> None:
        """Keep the session of a peer that cannot speak; its silence counts from the end of that on."""
        session = self._by_peer.get(peer)
        if session is not None and session.vouched is not vouched:
            session.vouched = vouched
            session.heard_at = session.detached_at = now
            self._next_check = 0.0

    def end(self, peer: Peer, reason: str) -> list[Event]:
        """Tell a peer that it shall not go on, and forget it."""
        session = self._by_peer.get(peer)
        if session is None:
            return []
        if session.route is not None:
            self._control.append((session.route, m.Packet(0, 0, [m.Refused(reason)])))
        self._forget(session)
        return [PeerLeft(peer, reason)]

    def unreachable(self, route: bytes, now: float) -> list[Event]:
        """There is no connection behind this route any more."""
        session = self._by_route.pop(route, None)
        if session is None:
            return []
        session.route = None
        session.detached_at = now
        self._next_check = 0.0
        self._ready.pop(session.peer, None)
        return [PeerDetached(session.peer)]

    def expire(self, now: float) -> list[Event]:
        """Let go of those who were silent, or without a connection, for too long."""
        slept = now - self._awake_at
        self._awake_at = now
        if slept > _SLEEP_SECONDS:
            self._forgive_sleep(now, slept)
        if now < self._next_check:
            return []
        events: list[Event] = []
        self._next_check = now + _CHECK_SECONDS
        for session in list(self._by_peer.values()):
            deadline, reason = self._deadline(session)
            if now < deadline:
                self._next_check = min(self._next_check, deadline)
                continue
            self._forget(session)
            events.append(PeerLeft(session.peer, reason))
        return events

    def _forgive_sleep(self, now: float, slept: float) -> None:
        """Do not count the time in which this process stood still: what was said then has not been read yet."""
        for session in self._by_peer.values():
            session.heard_at = min(now, session.heard_at + slept)
            session.detached_at = min(now, session.detached_at + slept)

    def next_wakeup(self) -> float | None:
        """Return when `expire` is wanted."""
        return self._next_check if self._by_peer else None

    def _on_gap(self, session: _Session, route: bytes, now: float) -> list[Event]:
        """Have the peer register again and repeat what is missing; one that cannot is not to be helped."""
        if session.gap_at == session.link.received:
            self._control.append((route, m.Packet(0, 0, [m.Refused("messages of this session are missing")])))
            self._forget(session)
            return [PeerLeft(session.peer, "messages of its session are missing")]
        session.gap_at = session.link.received
        self._control.append((route, m.Packet(0, 0, [m.RegisterFirst()])))
        return self.unreachable(route, now)

    # ---- registration

    def _receive_stranger(self, route: bytes, packet: m.Packet, now: float) -> list[Event]:
        register = packet.messages[0] if packet.messages else None
        if not isinstance(register, m.Register):
            self._control.append((route, m.Packet(0, 0, [m.RegisterFirst()])))
            return []
        refusal = self._refusal(route, register)
        if refusal:
            self._control.append((route, m.Packet(0, 0, [m.Refused(refusal)])))
            who = f"{register.role[:_SHOWN]!r} {register.name[:_SHOWN]!r} on {register.host_name[:_SHOWN]!r}"
            self.refusals.append(f"turned away {who}: {refusal}")
            return []
        known = self._by_peer.get(register.session_id)
        if known is None:
            return self._join(route, register, now)
        return self._return(known, route, register, now)

    def _refusal(self, route: bytes, register: m.Register) -> str:
        if register.product != m.PRODUCT or register.protocol_version != m.PROTOCOL_VERSION:
            return (
                f"the scheduler speaks {m.PRODUCT} protocol {m.PROTOCOL_VERSION}, this {register.role or 'peer'} "
                f"speaks {register.product} protocol {register.protocol_version}: install the same version on both"
            )
        if register.role not in self._patience:
            return f"the scheduler knows no role {register.role!r}"
        other = self._by_route.get(route)
        if other is not None and other.peer != register.session_id:
            return "this connection belongs to another session"
        known = self._by_peer.get(register.session_id)
        if known is not None and not hmac.compare_digest(known.secret, register.secret):
            return "this session belongs to somebody else"
        if known is None and len(self._by_peer) >= self._max_peers:
            return f"the scheduler has {self._max_peers} peers already, it takes no more"
        return ""

    def _join(self, route: bytes, register: m.Register, now: float) -> list[Event]:
        session = _Session(
            peer=register.session_id,
            role=register.role,
            name=register.name,
            secret=register.secret,
            route=route,
            heard_at=now,
            heartbeat_seconds=register.heartbeat_seconds,
        )
        self._by_peer[session.peer] = session
        self._by_route[route] = session
        self._next_check = 0.0
        self._answer(session, register, resumed=False)
        return [PeerJoined(session.peer, register)]

    def _return(self, session: _Session, route: bytes, register: m.Register, now: float) -> list[Event]:
        resumed = register.instance_id == self.instance_id
        if not resumed and session.link.received:  # it forgot what it had said: for us it is a new peer
            self._forget(session)
            return [PeerLeft(session.peer, "it started again"), *self._join(route, register, now)]
        if session.route != route:
            if session.route is not None:
                self._by_route.pop(session.route, None)
            session.link.rewind(register.received)
        elif session.may_repeat(register.received):  # a packet came that it could not read
            session.link.rewind(register.received)
        session.route = route
        session.heard_at = now
        self._by_route[route] = session
        self._ready[session.peer] = session
        self._answer(session, register, resumed=resumed)
        return [PeerAttached(session.peer)]

    def _answer(self, session: _Session, register: m.Register, *, resumed: bool) -> None:
        warning = ""
        if register.python_version != PYTHON_VERSION:
            warning = (
                f"this {register.role} runs Python {register.python_version}, the scheduler {PYTHON_VERSION}: "
                "pickled functions may not work between them"
            )
        answer = m.Registered(self.instance_id, session.link.received, resumed, warning, *self._told)
        assert session.route is not None  # noqa: S101 - both callers have just set it
        self._control.append((session.route, m.Packet(0, 0, [answer])))

    def _forget(self, session: _Session) -> None:
        self._by_peer.pop(session.peer, None)
        self._ready.pop(session.peer, None)
        if session.route is not None:
            self._by_route.pop(session.route, None)

    def _deadline(self, session: _Session) -> tuple[float, str]:
        """Return when the session ends unless something is heard of it, and why it would."""
        if session.vouched:
            return inf, ""
        patience = self._patience[session.role]
        silent_seconds = patience.silent_seconds
        if silent_seconds is not None:
            silent_seconds = max(silent_seconds, 3 * session.heartbeat_seconds)
        silent = inf if silent_seconds is None else session.heard_at + silent_seconds
        if session.route is None and patience.detached_seconds is not None:
            detached = session.detached_at + patience.detached_seconds
            if detached < silent:
                return detached, "its connection was lost and did not come back"
        return silent, f"silent for {silent_seconds} seconds"
