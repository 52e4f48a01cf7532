"""Passes on what a zygote's children write to their standard error, unchanged, and keeps the end of it for each.

Never waits: while this process's own standard error takes nothing, the children's pipes are left to fill, so that
whoever floods them waits, as it would without a relay. Makes no thread, for it lives in a process that forks.
"""

import fcntl
import os
import select
import socket
import stat
import struct
import termios
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

TAIL_BYTES: Final = 16 << 10
"""How much is kept of each child."""

MAX_PENDING_BYTES: Final = 1 << 20
"""So much of what the dead left waits for a standard error that takes nothing; what is more is dropped."""

_PIPE_BUF = 4096  # pipe(7): a pipe that is writable takes so much at once
_READ_BYTES = 64 << 10
_PIPES_A_TURN = 16
_STDERR = 2
_INT = struct.Struct("i")


@dataclass(slots=True)
class _Child:
    read: int | None
    """The reading end of its pipe; None once nobody can write to it any more."""
    tail: bytearray = field(default_factory=bytearray)


class StderrRelay:
    """See the module. `register` it with the poll of the loop, and call `turn` after every round of that."""

    def __init__(self, stderr: int = _STDERR) -> None:
        self._sink = _Sink(stderr)
        self._pipes = select.epoll()
        self._writers: dict[int, _Child] = {}  # by reading end; of the dead, what they started
        self._living: dict[str, _Child] = {}
        self._pending = bytearray()
        self._dropped = 0
        self._poll: select.poll | None = None
        self._is_stalled = False

    # ---- children

    def open(self, key: str) -> int:
        """Make the pipe for a child that is about to be forked; returns the end that `be_child` gets."""
        read, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read, False)
        self._writers[read] = self._living[key] = _Child(read)
        self._pipes.register(read, select.EPOLLIN)
        return write

    def be_child(self, write: int | None) -> None:
        """In a child: keep nothing of the relay, and write to the pipe if there is one."""
        if write is not None:
            os.dup2(write, _STDERR)
            os.close(write)
        for read in self._writers:
            os.close(read)
        self._pipes.close()
        self._sink.close()

    def end(self, key: str) -> bytes:
        """Return the end of what a child wrote that is dead. What others still write to its pipe is passed on."""
        child = self._living.pop(key, None)
        if child is None:
            return b""
        if child.read is not None:
            self._read(child.read, _waiting(child.read))
        return bytes(child.tail)

    # ---- the loop

    def register(self, poll: select.poll) -> None:
        """Have the poll wake up when there is something to do."""
        self._poll = poll
        poll.register(self._pipes.fileno(), select.POLLIN)

    def turn(self) -> None:
        """Do what can be done without waiting."""
        self._write()
        if not self._pending:
            for read, _ in self._pipes.poll(0, _PIPES_A_TURN):
                self._read(read, _READ_BYTES)
            self._write()
        if self._poll is not None and bool(self._pending) != self._is_stalled:
            self._is_stalled = not self._is_stalled
            gone, wanted = (self._pipes.fileno(), self._sink.fileno())[:: 1 if self._is_stalled else -1]
            self._poll.unregister(gone)
            self._poll.register(wanted, select.POLLOUT if self._is_stalled else select.POLLIN)

    def finish(self, seconds: float) -> None:
        """Pass on what is left, for `seconds` at most."""
        deadline = time.monotonic() + seconds
        for read in list(self._writers):
            self._read(read, _waiting(read))
        self._write()
        while self._pending and (left := deadline - time.monotonic()) > 0:
            self._sink.wait(left)
            self._write()

    def _read(self, read: int, size: int) -> None:
        """Take up to so many bytes from a pipe; at its end, forget it."""
        child = self._writers[read]
        try:
            data = os.read(read, max(1, size))
        except BlockingIOError:
            return
        if not data:
            self._pipes.unregister(read)
            os.close(read)
            child.read = None
            del self._writers[read]
            return
        child.tail += data
        del child.tail[:-TAIL_BYTES]
        if len(self._pending) + len(data) <= MAX_PENDING_BYTES:
            self._pending += data
        else:
            self._dropped += len(data)

    def _write(self) -> None:
        while self._pending:
            taken = self._sink.write(self._pending)
            if not taken:
                return
            del self._pending[:taken]
            if not self._pending and self._dropped:
                self._pending += b"[%d bytes of standard error were dropped]\n" % self._dropped
                self._dropped = 0


class _Sink:
    """Where it goes: a descriptor that is shared with other programs, so that its flags must stay as they are."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._own: int | None = None
        self._socket: socket.socket | None = None
        self._takes_all = False
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError:  # closed: what comes is dropped
            self._takes_all = True
            return
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(descriptor))
        elif stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            with suppress(OSError):  # a terminal that belongs to somebody else cannot be opened again
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                self._own = os.open(f"/proc/self/fd/{descriptor}", flags)

    def fileno(self) -> int:
        return self._descriptor if self._own is None else self._own

    def write(self, data: bytearray) -> int:
        """Return how many bytes were taken; none if that would mean to wait. All, once nobody reads it any more."""
        if self._takes_all:
            return len(data)
        try:
            if self._socket is not None:
                return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            if self._own is not None:
                return os.write(self._own, data)
            return os.write(self._descriptor, data[:_PIPE_BUF]) if self.wait(0) else 0
        except BlockingIOError:
            return 0
        except OSError:
            self._takes_all = True
            return len(data)

    def wait(self, seconds: float) -> bool:
        """Wait until it takes something, for `seconds` at most."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLOUT)
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        if self._own is not None:
            os.close(self._own)
        if self._socket is not None:
            self._socket.close()


def _waiting(descriptor: int) -> int:
    """Return how many bytes can be read."""
    return int(_INT.unpack(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(_INT.size)))[0])
