"""Sends to their client what tasks write to standard output and error, by whatever means, where it wants that.

While such tasks run, descriptors 1 and 2 are pipes, one pair for each client. The IO thread reads them while there is
room; where there is none the pipes fill and the task waits. The host holds the pipes as well: what a process leaves in
them when it dies, the host sends.
"""

import ctypes
import fcntl
import os
import select
import struct
import sys
import termios
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from scaler_protocol.messages import TaskOutput
from scaler_worker.leftovers import CHUNK_BYTES, STREAMING, Spool

MAX_UNSENT_BYTES: Final = 1 << 20
"""Nothing more is read while so many bytes are not acknowledged by the scheduler."""

PAUSE_SECONDS: Final = 0.002
"""After a few bytes so long until the next: a task that prints line by line is not interrupted at every line."""

_FEW_BYTES = 16 << 10
_STDOUT, _STDERR = 1, 2
_INT = struct.Struct("i")
_FOLLOWING, _LEADING = 0x80, 0xC0  # the two highest bits of a byte of a character in UTF-8 (RFC 3629)
_LENGTHS = ((0xF0, 4), (0xE0, 3), (_LEADING, 2))  # of a character, by the least first byte


@dataclass(slots=True, eq=False)
class _Pipe:
    is_error: bool
    read: int
    write: int | None
    spool: Spool
    carry: bytes = b""
    """The beginning of a character whose end is not there yet."""


@dataclass(slots=True, eq=False)
class _Stream:
    """The pipes of a client's tasks. Read also after these: processes that they left behind may go on writing."""

    client_id: bytes
    number: int
    pipes: list[_Pipe]
    is_watched: bool = False


class Output:
    """See the module. The main thread enters, leaves, and runs what `streamed` returns; the IO thread does the rest."""

    def __init__(self, tell_host: Callable[[object, Sequence[int]], None], wake: Callable[[], None]) -> None:
        """`tell_host` sends a message with copies of descriptors; `wake` has the IO thread call `turn`."""
        self._tell_host = tell_host
        self._wake = wake
        self._lock = threading.Lock()  # guards the list of streams
        self._streams: list[_Stream] = []
        self._current: _Stream | None = None  # whose writing ends are open
        self._count = 0
        self._saved: list[int | None] = []  # what 1 and 2 were, while tasks write to pipes
        self._held: set[bytes] = set()
        self._has_room = threading.Event()
        self._has_room.set()
        self._epoll: select.epoll | None = None
        self._pause_ends: float | None = None

    # ---- the main thread's part

    def enter(self, client_id: bytes) -> None:
        """Have everything that is written from now on go to a client."""
        flush_streams()
        self._saved = [_save(descriptor) for descriptor in (_STDOUT, _STDERR)]
        stream = self._current
        if stream is None or stream.client_id != client_id:
            stream = self._begin(client_id)
        for pipe, descriptor in zip(stream.pipes, (_STDOUT, _STDERR), strict=True):
            if pipe.write is not None:
                os.dup2(pipe.write, descriptor)
            pipe.spool.set_active(is_active=True)

    def leave(self) -> None:
        """Have it go again where it went before. Does nothing the second time."""
        if self._current is None or not self._saved:
            return
        flush_streams()
        for saved, descriptor in zip(self._saved, (_STDOUT, _STDERR), strict=True):
            if saved is None:
                os.close(descriptor)
            else:
                os.dup2(saved, descriptor)
                os.close(saved)
        self._saved = []
        for pipe in self._current.pipes:
            pipe.spool.set_active(is_active=False)

    def streamed(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return `fn` such that all that it wrote is in the pipes when it has ended, and that there is room again."""

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return fn(*args, **kwargs)
            finally:
                flush_streams()
                self._has_room.wait()

        return call

    def _begin(self, client_id: bytes) -> _Stream:
        for pipe in self._current.pipes if self._current is not None else ():
            if pipe.write is not None:
                os.close(pipe.write)
                pipe.write = None  # the IO thread reads on, to the end
        self._count += 1
        pipes = [_new_pipe(is_error=False), _new_pipe(is_error=True)]
        stream = _Stream(client_id, self._count, pipes)
        shared = [*(pipe.read for pipe in pipes), *(pipe.spool.descriptor for pipe in pipes)]
        self._tell_host((STREAMING, client_id, stream.number), shared)
        with self._lock:
            self._streams.append(stream)
            self._current = stream
            self._epoll = self._epoll or select.epoll()
        self._wake()
        return stream

    # ---- the IO thread's part

    @property
    def descriptor(self) -> int | None:
        """What is readable when `turn` has something to do; None before the first task whose output is wanted."""
        return None if self._epoll is None else self._epoll.fileno()

    def hold(self, client_id: bytes, *, is_held: bool) -> None:
        """Read nothing for a client until it is said again."""
        (self._held.add if is_held else self._held.discard)(client_id)

    def hold_nothing(self) -> None:
        """Forget all holds: the scheduler that asked for them is gone."""
        self._held.clear()

    def next_wakeup(self) -> float | None:
        """Return when `turn` is wanted at the latest."""
        return self._pause_ends

    def turn(self, now: float, *, has_room: bool) -> list[TaskOutput]:
        """Return what has been written as far as it may be sent now, and look out for more."""
        if self._epoll is None:
            return []
        if self._pause_ends is not None and now >= self._pause_ends:
            self._pause_ends = None
        is_pause = self._pause_ends is not None
        messages: list[TaskOutput] = []
        for stream in self._all():
            is_wanted = has_room and stream.client_id not in self._held
            if is_wanted and not is_pause:
                messages += self._read(stream)
            if stream is self._current:
                (self._has_room.set if is_wanted else self._has_room.clear)()
            if not stream.pipes:
                self._forget(stream)
        if messages and sum(len(message.payload) for message in messages) < _FEW_BYTES:
            self._pause_ends = now + PAUSE_SECONDS
        for stream in self._all():
            is_wanted = self._pause_ends is None and has_room and stream.client_id not in self._held
            self._watch(stream, self._epoll, is_wanted=is_wanted)
        return messages

    def drain(self) -> list[TaskOutput]:
        """Return everything that has been written up to now: it is to be sent before the outcomes of these tasks."""
        if self._epoll is None:
            return []
        return [message for stream in self._all() for message in self._read(stream, is_whole=True)]

    def _all(self) -> list[_Stream]:
        with self._lock:
            return list(self._streams)

    def _forget(self, stream: _Stream) -> None:
        with self._lock:
            self._streams.remove(stream)

    def _watch(self, stream: _Stream, epoll: select.epoll, *, is_wanted: bool) -> None:
        """Be woken by what is written, or not."""
        if is_wanted == stream.is_watched:
            return
        stream.is_watched = is_wanted
        for pipe in stream.pipes:
            if is_wanted:
                epoll.register(pipe.read, select.EPOLLIN)
            else:
                epoll.unregister(pipe.read)

    def _read(self, stream: _Stream, *, is_whole: bool = False) -> list[TaskOutput]:
        """Read what is in the pipes now, not what comes meanwhile: that may be without end.

        A character is not sent in halves, except with `is_whole`.
        """
        messages: list[TaskOutput] = []
        for pipe in list(stream.pipes):
            size = _waiting(pipe.read)
            while size > 0:
                data = pipe.spool.fill(pipe.read, min(size, CHUNK_BYTES))
                size -= len(data)
                pipe.carry += data
                half = 0 if is_whole and not size else len_of_half(pipe.carry)
                messages.append(_take(stream, pipe, len(pipe.carry) - half))
            if is_whole:
                messages.append(_take(stream, pipe, len(pipe.carry)))
            if pipe.write is None and self._is_over(pipe):
                messages.append(_take(stream, pipe, len(pipe.carry)))
                stream.pipes.remove(pipe)
        return [message for message in messages if message.payload]

    def _is_over(self, pipe: _Pipe) -> bool:
        """Close the pipe if nobody can write to it any more and nothing is in it."""
        poll = select.poll()
        poll.register(pipe.read, select.POLLIN)
        if [event for _, event in poll.poll(0)] != [select.POLLHUP]:
            return False
        if self._epoll is not None:
            with suppress(FileNotFoundError):  # it is not watched
                self._epoll.unregister(pipe.read)
        os.close(pipe.read)
        pipe.spool.close()
        return True


def _take(stream: _Stream, pipe: _Pipe, size: int) -> TaskOutput:
    """Return the next bytes of a pipe, of those that have been read."""
    position = pipe.spool.position - len(pipe.carry)
    payload, pipe.carry = pipe.carry[:size], pipe.carry[size:]
    return TaskOutput(stream.client_id, pipe.is_error, payload, stream=stream.number, position=position)


def flush_streams() -> None:
    """Bring to the descriptors what Python and the C library keep back."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # whatever a task has put there
            stream.flush()
    _libc.fflush(_c_stdout)


def len_of_half(data: bytes) -> int:
    """Return how many bytes at the end are the beginning of a character in UTF-8."""
    for length in range(1, min(3, len(data)) + 1):
        byte = data[-length]
        if byte >= _LEADING:
            needed = next(size for least, size in _LENGTHS if byte >= least)
            return length if length < needed else 0
        if byte < _FOLLOWING:
            break
    return 0


def _new_pipe(*, is_error: bool) -> _Pipe:
    read, write = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read, False)
    return _Pipe(is_error, read, write, Spool())


def _save(descriptor: int) -> int | None:
    """Return a copy; None if it is closed, which it is not any more: the next pipe must not get its number."""
    try:
        return os.dup(descriptor)
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        if null != descriptor:
            os.dup2(null, descriptor)
            os.close(null)
        return None


def _waiting(descriptor: int) -> int:
    """Return how many bytes can be read."""
    return int(_INT.unpack(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(_INT.size)))[0])


_libc = ctypes.CDLL(None)
_c_stdout = ctypes.c_void_p.in_dll(_libc, "stdout")
