"""What a zygote, its owner and its children tell each other: pickled records over one SOCK_SEQPACKET socket."""

import pickle
import socket
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MAX_MESSAGE_BYTES: Final = 128 << 10
"""Fits the socket's buffer as it is by default, so that one message is one datagram."""


# ---- to the owner


@dataclass(slots=True)
class Started:
    """A child runs."""

    key: str
    pid: int


@dataclass(slots=True)
class Ended:
    """A child has ended and is reaped, and its process group is gone: by an exit code or by a signal."""

    key: str
    pid: int
    exit_code: int | None
    signal: int | None
    stderr_tail: bytes = b""
    """The end of what it wrote to its standard error, if that was kept."""


@dataclass(slots=True)
class Said:
    """A child sent a message through its channel."""

    key: str
    message: object
    descriptors: tuple[int, ...] = ()
    """Those that came with it; whoever gets the event closes them."""


@dataclass(slots=True)
class ZygoteEnded:
    """The zygote is gone, and with it all children: they are dead or dying."""

    reason: str


ZygoteEvent = Started | Ended | Said | ZygoteEnded


# ---- to the zygote


@dataclass(slots=True)
class Start:
    """Fork a child; `arguments` are pickled."""

    key: str
    target: str
    arguments: bytes
    ends_when_asked: bool = False
    """SIGTERM ends it in order also before the target has handlers of its own."""
    keeps_stderr: bool = False
    """Its standard error goes through the zygote, which keeps the end of it."""


@dataclass(slots=True)
class Signal:
    """Signal a child's process group."""

    key: str
    number: int


@dataclass(slots=True)
class Close:
    """SIGTERM to all children, SIGKILL after the grace, then end."""

    grace_seconds: float


Command = Start | Signal | Close


def send(connection: socket.socket, data: bytes, descriptors: Sequence[int] = (), flags: int = 0) -> None:
    """Send one datagram with descriptors. (`socket.send_fds` ignores its flags, it would block.)"""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
    connection.sendmsg([data], rights, flags)


def receive(connection: socket.socket, max_descriptors: int, flags: int = 0) -> tuple[bytes, list[int]]:
    """Return one datagram and the descriptors with it. (`socket.recv_fds` ignores its flags, it would block.)"""
    space = socket.CMSG_LEN(max_descriptors * array("i").itemsize)
    data, ancillary, _, _ = connection.recvmsg(MAX_MESSAGE_BYTES, space, flags)
    descriptors = array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return data, list(descriptors)


class Channel:
    """A child's way to the owner of its zygote."""

    def __init__(
        self, key: str, connection: socket.socket, descriptors: tuple[int, ...] = (), owner_pid: int = 0
    ) -> None:
        self._key = key
        self._connection = connection
        self.descriptors = descriptors
        """The descriptors that came with the start; whoever uses them closes them."""
        self.owner_pid = owner_pid
        """The process that has the zygote, and that the child says everything to."""

    def say(self, message: object, descriptors: Sequence[int] = ()) -> None:
        """Send a picklable message of up to 128 KiB, with copies of descriptors.

        An owner that is gone does not hear it: the child ends anyway.
        """
        self.send(Said(self._key, message), descriptors)

    def send(self, event: ZygoteEvent, descriptors: Sequence[int] = ()) -> None:
        """Send an event."""
        data = pickle.dumps(event)
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a message of {len(data)} bytes, more than {MAX_MESSAGE_BYTES}")
        try:
            send(self._connection, data, descriptors, socket.MSG_NOSIGNAL)
        except ConnectionError:
            return
