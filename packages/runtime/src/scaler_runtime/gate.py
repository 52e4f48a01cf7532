"""The gate of a bound socket: which connections there are, and what keeps strangers from filling the process.

Two things that ZeroMQ leaves open. Without a free descriptor its listener tries again all the time, at full speed: who
gets one of the last is turned away, and tries again later. If all are gone at once, waiting connections are let in on a
spare descriptor and closed. And the parts of a message that does not end take memory without limit: a connection that
has sent far more than arrived is closed.
"""

import os
import resource
import select
import socket
import struct
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import zmq
from zmq.utils.monitor import recv_monitor_message

MAX_UNREAD_BYTES: Final = 256 << 20
"""Of a connection: sent by the peer, and not part of any message that has arrived."""

MAX_FIRST_BYTES: Final = 64 << 20
"""The same before the first message."""

WATCH_SECONDS: Final = 0.25
GROWTH_BYTES: Final = 64 << 20
"""Connections are looked at one by one when the process has grown by so much."""

RESERVED_DESCRIPTORS: Final = 16
"""The last ones are not for peers: who gets one of them is turned away before the listener fails."""

_TURNS: Final = 16
_EVENTS_PER_TURN: Final = 200
_POLLIN: Final = int(zmq.POLLIN)
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_ACCEPT_FAILED | zmq.EVENT_DISCONNECTED
_BYTES_RECEIVED = struct.Struct("<128xQ")  # of struct tcp_info in <linux/tcp.h>, since Linux 4.1


@dataclass(slots=True)
class Arrivals:
    """What has arrived by one connection, since `base` bytes."""

    descriptor: int
    route: bytes = b""
    base: int = 0
    size: int = 0


class Gate:
    """See the module. Made before the socket is bound; `close` ends the watch before the socket is closed."""

    def __init__(self, watched: "zmq.Socket[bytes]") -> None:
        self._watched = watched
        self._monitor = watched.get_monitor_socket(_EVENTS)
        self._edge = select.poll()  # asked in every turn, for a fraction of what the socket's own word costs
        self._edge.register(self._monitor.fileno(), select.POLLIN)
        self._has_more = True  # though there is no edge: it comes only to who has once found nothing
        self._connections: dict[int, Arrivals] = {}
        self._by_route: dict[bytes, Arrivals] = {}
        self._lost: list[int] = []
        self._spare: int | None = None
        self._spare = _descriptor()
        self._is_full = False
        self._first_reserved = _limit() - RESERVED_DESCRIPTORS  # the system gives the lowest number that is free
        self._turned_away = 0
        self._calm_bytes = _resident_bytes()
        self._watch_at = 0.0

    def fileno(self) -> int:
        """Return the descriptor to watch for reading; it is edge-triggered: call `lost_connections`."""
        return self._monitor.fileno()

    def lost_connections(self) -> list[int]:
        """Return the descriptors of connections that ended since the last call; the system uses numbers again."""
        if self._has_more or self._edge.poll(0):
            self._pump()
        if self._is_full:
            self._turn_away()
        lost, self._lost = self._lost, []
        return lost

    def of(self, route: bytes) -> Arrivals | None:
        """Return what is known of the connection behind a route; None before `attach`."""
        return self._by_route.get(route)

    def attach(self, route: bytes, descriptor: int) -> None:
        """Learn from a first message which connection belongs to a route."""
        former = self._connections.get(descriptor)
        if former is not None:
            self._by_route.pop(former.route, None)
        connection = Arrivals(descriptor, route, _received_bytes(descriptor))
        self._connections[descriptor] = self._by_route[route] = connection

    def watch(self, now: float) -> Iterator[str]:
        """Close connections that are too much, if it is time to look; a line for the log about each cause."""
        if self._turned_away:
            text = f"no file descriptor is left, the limit is {_limit()}"
            yield f"{text}: {self._turned_away} connections were turned away"
            self._turned_away = 0
        if now < self._watch_at:
            return
        self._watch_at = now + WATCH_SECONDS
        resident = _resident_bytes()
        if resident > self._calm_bytes + GROWTH_BYTES:
            for descriptor in list(self._connections):
                unread = self._close_if_too_much(descriptor)
                if unread:
                    yield f"closed a connection that sent {unread} bytes without completing a message"
            resident = _resident_bytes()
            self._calm_bytes = resident
        self._calm_bytes = min(resident, self._calm_bytes)

    @property
    def watch_at(self) -> float | None:
        """When `watch` is wanted; None without connections."""
        return self._watch_at if self._connections else None

    def close(self) -> None:
        """Stop watching."""
        self._watched.disable_monitor()
        self._monitor.close(0)
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    @property
    def is_busy(self) -> bool:
        """Whether `lost_connections` has more to do, without a new edge."""
        return self._is_full or self._has_more

    def _pump(self) -> None:
        self._has_more = True
        for _ in range(_EVENTS_PER_TURN):  # without a descriptor they come as fast as they are read
            if not int(self._monitor.get(zmq.EVENTS)) & _POLLIN:
                self._has_more = False
                return
            event = recv_monitor_message(self._monitor)
            kind, descriptor = event["event"], event["value"]
            if kind == zmq.EVENT_ACCEPT_FAILED:
                self._is_full = True
                continue
            former = self._connections.pop(descriptor, None)
            if former is not None:
                self._by_route.pop(former.route, None)
            if kind == zmq.EVENT_ACCEPTED:
                self._connections[descriptor] = Arrivals(descriptor)
                if descriptor >= self._first_reserved:
                    self._shut(descriptor)
            else:
                self._lost.append(descriptor)

    # ---- no descriptor is left

    def _turn_away(self) -> None:
        """Let waiting connections in on the spare descriptor, and close them, until none waits.

        Where the spare one is gone, since somebody came in between, the last one makes place: first of those who have
        not said anything. Without it the listener, and this process, would try again all the time.
        """
        before = set(self._connections)
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        for _ in range(_TURNS):
            self._is_full = False
            self._pump()
            fresh = [descriptor for descriptor in self._connections if descriptor not in before]
            if not fresh and not self._is_full:
                break
            for descriptor in fresh or self._last():
                before.add(descriptor)
                self._shut(descriptor)
            before &= self._connections.keys()
        self._spare = _descriptor()
        if self._spare is None:
            for descriptor in self._last():
                self._shut(descriptor)
                self._is_full = True  # it is tried again soon

    def _shut(self, descriptor: int) -> None:
        self._turned_away += 1
        with suppress(OSError), _borrowed(descriptor) as connection:  # it may have ended, and its number be a file's
            connection.shutdown(socket.SHUT_RDWR)

    def _last(self) -> list[int]:
        """Return the connection that was made last, one without a message if there is any."""
        newest_first = list(reversed(self._connections.values()))
        silent = [one for one in newest_first if not one.route]
        return [one.descriptor for one in (silent or newest_first)[:1]]

    # ---- a message without end

    def _close_if_too_much(self, descriptor: int) -> int:
        """Close a connection if too many of its bytes have not become messages; returns how many, else 0."""
        try:
            mine = os.dup(descriptor)
        except OSError:
            return 0
        try:
            self._pump()  # word of its end comes before its number is used again: the copy is of this connection
            connection = self._connections.get(descriptor)
            if connection is None:
                return 0
            unread = _received_bytes(mine) - connection.base - connection.size
            if unread <= (MAX_UNREAD_BYTES if connection.route else MAX_FIRST_BYTES):
                return 0
            with suppress(OSError), _borrowed(mine) as closing:
                closing.shutdown(socket.SHUT_RDWR)
            return unread
        finally:
            os.close(mine)


def raise_descriptor_limit() -> None:
    """Let this process have as many descriptors as the system allows: each peer takes one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def has_descriptors(count: int) -> bool:
    """Whether so many descriptors could be opened at this moment."""
    opened: list[int] = []
    try:
        while len(opened) < count:
            descriptor = _descriptor()
            if descriptor is None:
                return False
            opened.append(descriptor)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return True


def _descriptor() -> int | None:
    """Return a descriptor that stands for nothing, None if none is left."""
    with suppress(OSError):
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    return None


@contextmanager
def _borrowed(descriptor: int) -> Generator[socket.socket]:
    """Use a descriptor as a socket without owning it; the family does not matter for what is done here.

    Raises `OSError` for one that is closed, or no socket.
    """
    borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
    try:
        yield borrowed
    finally:
        borrowed.detach()


def _received_bytes(descriptor: int) -> int:
    """Return how many bytes a TCP connection has brought; 0 for other kinds."""
    with suppress(OSError, struct.error), _borrowed(descriptor) as connection:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
        return int(_BYTES_RECEIVED.unpack(info)[0])
    return 0


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - the cheapest way
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:  # no descriptor is left
        return 0
