"""ZeroMQ sockets as the drivers use them: never blocking, finite queues, and word of every connection made or lost.

The only file that makes sockets. Frames go through untouched.
"""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from enum import Enum

import zmq

from scaler_protocol.addresses import Address
from scaler_runtime.gate import Gate
from scaler_runtime.socket_file import SocketFile

HIGH_WATER_MARK = 1000
MAX_FRAME_BYTES = 64 << 20
"""Larger frames end the connection they come by."""

# Whoever receives a bounded number of messages must not send heartbeats: libzmq 4.3.5 ends the process when one is due
# on a connection that has ended while it was full (`!_io_error` in stream_engine_base.cpp). So the peer that connects
# sends them, takes in without a bound what its own server sends, and has the server time the connection out by them.
_HEARTBEATS = ((zmq.HEARTBEAT_IVL, 2000), (zmq.HEARTBEAT_TIMEOUT, 10_000), (zmq.HEARTBEAT_TTL, 10_000))
_KEEPALIVE = (
    (zmq.TCP_KEEPALIVE, 1),
    (zmq.TCP_KEEPALIVE_IDLE, 10),
    (zmq.TCP_KEEPALIVE_INTVL, 5),
    (zmq.TCP_KEEPALIVE_CNT, 3),
)
_RECONNECT_MS = 10
_RECONNECT_MAX_MS = 1000
_BACKLOG = 1024
_FRAME_HEADER_BYTES = 9  # at most (ZMTP 3.1)
_LOCALHOST = "127.0.0.1"
_FEED_HIGH_WATER_MARK = 4
# As plain numbers: arithmetic with pyzmq's flags takes longer than some of the calls that they are for.
_NOBLOCK, _POLLIN = int(zmq.NOBLOCK), int(zmq.POLLIN)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
_CONNECTED, _HANDSHAKE_SUCCEEDED = int(zmq.EVENT_CONNECTED), int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
# The first frame of word of a connection: which event, and its value (zmq_socket_monitor(3)). pyzmq's reader makes
# members of enumerations of both, which takes a worker forty pages of memory (`designs/0008`).
_MONITOR_EVENT = struct.Struct("=Hi")
_CONNECTION_EVENTS = zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
_MAX_SUBSCRIPTION_BYTES = 1024
_SUBSCRIPTIONS_PER_TURN = 64
_SUBSCRIPTIONS = {b"\x01": True, b"\x00": False}  # what an XPUB receives, here with an empty topic (zmq_socket(3))

Frames = Sequence[bytes]


class SendResult(Enum):
    """What became of a message."""

    SENT = "sent"
    FULL = "full"
    UNREACHABLE = "unreachable"


class BindError(OSError):
    """An address cannot be bound; the text has the address and the system's reason."""


class RouterSocket:
    """A bound ROUTER. `address` has the real port."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        address: Address,
        *,
        high_water_mark: int = HIGH_WATER_MARK,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        """Bind; raises `BindError`. The limits, of messages that wait and of a frame's bytes, hold for each peer."""
        self._socket = _socket(context, zmq.ROUTER, high_water_mark, max_frame_bytes)
        self._socket.set(zmq.ROUTER_MANDATORY, 1)
        self._socket.set(zmq.BACKLOG, _BACKLOG)
        self._gate = Gate(self._socket)
        self._file = _file_of(address)
        try:
            self.address = _bind(self._socket, address, self._file)
        except BindError:
            self.close()
            raise

    def filenos(self) -> tuple[int, int]:
        """Return the descriptors to watch for reading; both are edge-triggered: read until there is nothing."""
        return self._socket.fileno(), self._gate.fileno()

    def receive(self, known: Callable[[bytes], bool]) -> tuple[bytes, list[bytes], int] | None:
        """Return (route, frames, descriptor of the connection), or None if nothing waits.

        The descriptor, which costs a little, is looked up for routes that are not `known`; else it is -1.
        """
        if not _is_readable(self._socket):
            return None
        route = self._socket.recv(_NOBLOCK)
        connection = self._gate.of(route)
        if connection is not None:
            frames = _receive(self._socket)
            connection.size += sum(map(len, frames)) + _FRAME_HEADER_BYTES * (len(frames) + 1)
            return route, frames, -1 if known(route) else connection.descriptor
        parts = self._socket.recv_multipart(copy=False)
        descriptor = -1
        with contextlib.suppress(zmq.ZMQError):
            descriptor = int(parts[0].get(zmq.SRCFD))
            self._gate.attach(route, descriptor)
        return route, [part.bytes for part in parts], descriptor

    def send(self, route: bytes, frames: Frames) -> SendResult:
        """Hand frames over for one peer, without waiting."""
        try:
            _send(self._socket, [route, *frames])
        except zmq.Again:
            return SendResult.FULL
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return SendResult.UNREACHABLE
            raise
        return SendResult.SENT

    def lost_connections(self) -> list[int]:
        """Return the descriptors of connections that ended since the last call; the system uses numbers again."""
        return self._gate.lost_connections()

    def watch(self, now: float) -> Iterator[str]:
        """Keep strangers from filling this process; returns lines for the log. Wanted at `watch_at`."""
        return self._gate.watch(now)

    @property
    def watch_at(self) -> float | None:
        """When `watch` is wanted at the latest."""
        return self._gate.watch_at

    def has_input(self) -> bool:
        """Whether a message waits. Must be asked after every send: a send may swallow the edge."""
        return _is_readable(self._socket) or self._gate.is_busy

    def close(self, linger_ms: int = 0) -> None:
        """Close; up to `linger_ms` milliseconds are spent on delivering what was sent."""
        if self._file is not None:
            self._file.remove()  # while it is still ours: who binds the path next must find nobody there
        self._gate.close()
        self._socket.close(linger_ms)


class DealerSocket:
    """A DEALER that keeps connecting to one address.

    Not with ZMQ_IMMEDIATE: it loses what the other side said last before it closed the connection (tried with 4.3.5).
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", address: Address) -> None:
        self._socket = _socket(context, zmq.DEALER)
        self._socket.set(zmq.RECONNECT_IVL, _RECONNECT_MS)
        self._socket.set(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
        self._monitor = self._socket.get_monitor_socket(_CONNECTION_EVENTS)
        self._socket.connect(str(address))

    def filenos(self) -> tuple[int, int]:
        """Return the descriptors to watch for reading; both are edge-triggered: read until there is nothing."""
        return self._socket.fileno(), self._monitor.fileno()

    def receive(self) -> list[bytes] | None:
        """Return the frames of one message, None if nothing waits."""
        return _receive(self._socket) if _is_readable(self._socket) else None

    def send(self, frames: Frames) -> SendResult:
        """Hand frames over, without waiting."""
        try:
            _send(self._socket, frames)
        except zmq.Again:
            return SendResult.FULL
        return SendResult.SENT

    def connection_changes(self) -> list[bool]:
        """Return what happened since the last call: True for a connection made, False for one lost."""
        changes: list[bool] = []
        while _is_readable(self._monitor):
            event, value = _MONITOR_EVENT.unpack(_receive(self._monitor)[0])
            if event == _CONNECTED:
                _end_if_to_itself(value)
            else:
                changes.append(event == _HANDSHAKE_SUCCEEDED)
        return changes

    def has_input(self) -> bool:
        """Whether a message waits. Must be asked after every send: a send may swallow the edge."""
        return _is_readable(self._socket)

    def close(self, linger_ms: int = 0) -> None:
        """Close; up to `linger_ms` milliseconds are spent on delivering what was sent."""
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(linger_ms)


class PubSocket:
    """A bound publisher that knows whether anybody listens. `address` has the real port.

    A subscriber that does not keep up misses messages; it holds up nobody.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", address: Address) -> None:
        """Bind; raises `BindError`."""
        self._socket = _socket(context, zmq.XPUB, _FEED_HIGH_WATER_MARK, _MAX_SUBSCRIPTION_BYTES)
        self._file = _file_of(address)
        self._socket.set(zmq.XPUB_VERBOSE, 1)  # word of every subscription: a first one in odd frames would hide others
        self._gate = Gate(self._socket)
        try:
            self.address = _bind(self._socket, address, self._file)
        except BindError:
            self.close()
            raise

    def filenos(self) -> tuple[int, int]:
        """Return the descriptors to watch for reading; both are edge-triggered: read until there is nothing."""
        return self._socket.fileno(), self._gate.fileno()

    def subscription_changes(self) -> list[bool]:
        """Return what happened since the last call: True when one more listens, False when nobody does any more.

        After many at once `has_input` is still true: call again.
        """
        self._gate.lost_connections()
        changes: list[bool] = []
        with contextlib.suppress(zmq.Again):
            for _ in range(_SUBSCRIPTIONS_PER_TURN):
                frames = self._socket.recv_multipart(_NOBLOCK)
                if frames[0] in _SUBSCRIPTIONS:  # to everything; nothing else is published
                    changes.append(_SUBSCRIPTIONS[frames[0]])
        return changes

    def watch(self, now: float) -> Iterator[str]:
        """Keep strangers from filling this process; returns lines for the log. Wanted at `watch_at`."""
        return self._gate.watch(now)

    @property
    def watch_at(self) -> float | None:
        """When `watch` is wanted at the latest."""
        return self._gate.watch_at

    def send(self, frame: bytes) -> None:
        """Publish, without waiting."""
        with contextlib.suppress(zmq.Again):
            self._socket.send(frame, _NOBLOCK)

    def has_input(self) -> bool:
        """Whether a change waits. Must be asked after every send: a send may swallow the edge."""
        return _is_readable(self._socket) or self._gate.is_busy

    def close(self) -> None:
        """Close; what has not left is dropped."""
        if self._file is not None:
            self._file.remove()
        self._gate.close()
        self._socket.close(0)


class SubSocket:
    """A subscriber to everything that one address publishes; it keeps connecting."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", address: Address) -> None:
        self._socket = _socket(context, zmq.SUB, _FEED_HIGH_WATER_MARK)
        self._socket.set(zmq.RECONNECT_IVL, _RECONNECT_MS)
        self._socket.set(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
        self._socket.set(zmq.SUBSCRIBE, b"")
        self._socket.connect(str(address))

    def fileno(self) -> int:
        """Return the descriptor to watch for reading; it is edge-triggered: read until there is nothing."""
        return self._socket.fileno()

    def receive(self) -> list[bytes] | None:
        """Return the frames of one message, None if nothing waits."""
        try:
            return self._socket.recv_multipart(_NOBLOCK)
        except zmq.Again:
            return None

    def close(self) -> None:
        """Close."""
        self._socket.close(0)


def can_bind(address: Address) -> bool:
    """Whether nobody listens on this address at this moment: another process is going to."""
    with contextlib.suppress(OSError, OverflowError):
        _probe(address)
        return True
    return False


def is_taken(address: Address) -> bool:
    """Whether somebody listens on this address at this moment. What else may be wrong with it is not looked at."""
    try:
        _probe(address)
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _probe(address: Address) -> None:
    if address.transport == "ipc":
        with SocketFile(address.host).claimed():
            return
    host = _LOCALHOST if address.host == "localhost" else address.host
    family, kind, protocol, _, place = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)
        probe.listen(1)


def _end_if_to_itself(descriptor: int) -> None:
    """End a new connection if both of its ends are the same socket; nobody could ever listen at the address.

    That happens where nobody listens yet, when the system takes for this side the very port that is tried
    (simultaneous open, RFC 9293, 3.5). Its remains must not keep the server out either: see SO_REUSEADDR, socket(7).
    """
    with contextlib.suppress(OSError), _copy_of(descriptor) as end:  # it may have ended already
        if end.family != socket.AF_UNIX and end.getsockname() == end.getpeername():
            end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            end.shutdown(socket.SHUT_RDWR)


def _copy_of(descriptor: int) -> socket.socket:
    """Return a socket of one's own for a connection; `OSError` if it has ended, and its number perhaps is a file's."""
    copy = os.dup(descriptor)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


def _file_of(address: Address) -> SocketFile | None:
    return SocketFile(address.host) if address.transport == "ipc" else None


def _bind(bound: "zmq.Socket[bytes]", address: Address, file: SocketFile | None) -> Address:
    """Bind a socket and return the address with the real port."""
    try:
        with contextlib.nullcontext() if file is None else file.claimed():
            bound.bind(_bindable(address))
    except (OSError, zmq.ZMQError) as error:
        raise BindError(f"cannot listen on {address}: {os.strerror(error.errno or 0)}") from error
    if address.port != 0:
        return address
    endpoint = bound.getsockopt_string(zmq.LAST_ENDPOINT)
    return address.with_port(int(endpoint.rpartition(":")[2]))


def _socket(
    context: "zmq.Context[zmq.Socket[bytes]]",
    kind: int,
    high_water_mark: int = HIGH_WATER_MARK,
    max_frame_bytes: int = MAX_FRAME_BYTES,
) -> "zmq.Socket[bytes]":
    socket = context.socket(kind)
    for option, value in (
        (zmq.IPV6, 1),
        (zmq.LINGER, 0),
        (zmq.SNDHWM, high_water_mark),
        (zmq.RCVHWM, 0 if kind == zmq.DEALER else high_water_mark),
        (zmq.MAXMSGSIZE, max_frame_bytes),
        *(_HEARTBEATS if kind == zmq.DEALER else _KEEPALIVE),
    ):
        socket.set(option, value)
    return socket


def _bindable(address: Address) -> str:
    return f"tcp://{_LOCALHOST}:{address.port}" if address.host == "localhost" else str(address)


def _is_readable(socket: "zmq.Socket[bytes]") -> bool:
    return bool(zmq.zmq_poll([(socket, _POLLIN)], 0))  # cheaper than to read the option `EVENTS`


def _receive(socket: "zmq.Socket[bytes]") -> list[bytes]:
    """Return the frames of a message that is there, or the rest of one that was begun."""
    frames: list[bytes] = []
    while True:
        frame = socket.recv(_NOBLOCK, copy=False)
        frames.append(frame.bytes)
        if not frame.more:
            return frames


def _send(socket: "zmq.Socket[bytes]", frames: Frames) -> None:
    """Send one message; `zmq.Again` for the first frame if there is no room."""
    for frame in frames[:-1]:
        socket.send(frame, _MORE)
    socket.send(frames[-1], _NOBLOCK)
