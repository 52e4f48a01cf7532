"""The owner's end of a zygote: a single-threaded process that has imported what its children need, and forks them.

What it does is in zygote_process.py. The owner may have threads: the zygote is a process of its own before it forks.
"""

import errno
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from scaler_runtime.zygote_events import (
    MAX_MESSAGE_BYTES,
    Channel,
    Close,
    Command,
    Ended,
    Said,
    Signal,
    Start,
    Started,
    ZygoteEnded,
    ZygoteEvent,
    receive,
    send,
)
from scaler_runtime.zygote_process import flush_output, serve

__all__ = ["Channel", "Ended", "Said", "Started", "Zygote", "ZygoteEnded", "ZygoteEvent"]

_PATIENCE_SECONDS = 5.0
"""How long the zygote may take to end beyond the grace of its children."""

_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[5:]; from scaler_runtime.zygote_process import main; main(*sys.argv[1:5])"
)
_MAX_DESCRIPTORS = 8


class Zygote:
    """Starts the zygote at once, without waiting for it; its imports happen while the owner goes on.

    All methods may be called from several threads. Nothing happens by calls after `ZygoteEnded`.
    """

    def __init__(
        self,
        preload: Sequence[str],
        *,
        fork: bool = False,
        descriptors: Sequence[int] = (),
        orphan_seconds: float = 0.0,
    ) -> None:
        """Start a fresh interpreter with this one's `sys.path`, or with `fork` a copy of this process.

        `preload` are modules that the children need, or functions, "package.module:function", to be called once before
        they are forked; `descriptors` stay open in the zygote and its children.
        `fork` is for processes with one thread only, before they make a ZeroMQ context. When this process ends, however
        it ends, so do the children: by SIGKILL, after SIGTERM and `orphan_seconds` if there are any.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        self._process: subprocess.Popen[bytes] | None = None
        if fork:
            self.pid = _fork(ours, theirs, preload, orphan_seconds)
        else:
            self._process = _spawn(theirs, preload, descriptors, orphan_seconds)
            self.pid = self._process.pid
        theirs.close()
        self._pidfd = os.pidfd_open(self.pid)
        self._poll = select.epoll()
        self._poll.register(self._socket, select.EPOLLIN)
        self._poll.register(self._pidfd, select.EPOLLIN)
        self._over = select.poll()
        self._over.register(self._pidfd, select.POLLIN)
        # The numbers stay ours as long as another thread may wait on them.
        weakref.finalize(self, os.close, self._pidfd).atexit = False
        self._lock = threading.RLock()
        self._outbox: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._events: deque[ZygoteEvent] = deque()
        self._living: dict[str, int] = {}  # key -> pid
        self._reason = ""
        self._has_ended = False

    def fileno(self) -> int:
        """Return a descriptor that is readable when `events` has something to do."""
        return self._poll.fileno()

    def start(
        self,
        key: str,
        target: str,
        arguments: object,
        descriptors: Sequence[int] = (),
        *,
        ends_when_asked: bool = False,
        keeps_stderr: bool = False,
    ) -> None:
        """Fork a child that calls `target`, "package.module:function", with (arguments, channel).

        Raises `ValueError` for arguments of more than 128 KiB. `descriptors` arrive as `channel.descriptors`. With
        `ends_when_asked`, SIGTERM makes its exit code 0 also before the target has handlers of its own. With
        `keeps_stderr`, its standard error is a pipe to the zygote, which passes it on and keeps the end for `Ended`.
        """
        start = Start(key, target, pickle.dumps(arguments), ends_when_asked, keeps_stderr)
        self._send(start, tuple(descriptors))

    def signal(self, key: str, number: int) -> None:
        """Send a signal to the process group of a child; nothing happens when it has ended."""
        self._send(Signal(key, number))

    def events(self) -> list[ZygoteEvent]:
        """Return what has happened, without waiting. `ZygoteEnded` is the last: all children are dead or dying."""
        with self._lock:
            self._pump()
            events = list(self._events)
            self._events.clear()
        return events

    def wait_event(self, timeout: float | None = None) -> ZygoteEvent | None:
        """Wait up to `timeout` seconds for the next event; None without one."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                self._pump()
                if self._events:
                    return self._events.popleft()
                if self._has_ended:
                    return None
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            self._poll.poll(left)

    def close(self, grace_seconds: float = 0.0) -> None:
        """End all children, by SIGKILL after `grace_seconds`, and the zygote; returns when it is reaped."""
        self._send(Close(grace_seconds))
        deadline = time.monotonic() + grace_seconds + _PATIENCE_SECONDS
        while True:
            with self._lock:
                self._pump()
                if self._has_ended:
                    return
                if time.monotonic() >= deadline:
                    with suppress(ProcessLookupError):
                        signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                    deadline += _PATIENCE_SECONDS
            self._poll.poll(max(0.0, deadline - time.monotonic()))

    def _send(self, command: Command, descriptors: tuple[int, ...] = ()) -> None:
        data = pickle.dumps(command)
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError(f"{len(data)} bytes of arguments, more than {MAX_MESSAGE_BYTES}")
        if len(descriptors) > _MAX_DESCRIPTORS:
            raise ValueError(f"{len(descriptors)} descriptors, more than {_MAX_DESCRIPTORS}")
        with self._lock:
            if not self._has_ended:
                self._outbox.append((data, descriptors))
                self._flush()

    def _flush(self) -> None:
        """Hand over what waits; the rest when the socket has room."""
        while self._outbox:
            data, descriptors = self._outbox[0]
            try:
                send(self._socket, data, descriptors, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                break
            except OSError:  # the zygote is gone, which `_pump` will see
                self._outbox.clear()
                break
            self._outbox.popleft()
        with suppress(FileNotFoundError):  # at its end the socket is not watched any more
            self._poll.modify(self._socket, select.EPOLLIN | select.EPOLLOUT if self._outbox else select.EPOLLIN)

    def _pump(self) -> None:
        if self._has_ended:
            return
        self._flush()
        ended = bool(self._over.poll(0))  # asked first, so that nothing said before is missed
        while (received := self._receive()) is not None:
            data, descriptors = received
            event: ZygoteEvent = pickle.loads(data)
            if descriptors and isinstance(event, Said):
                event.descriptors = tuple(descriptors)
            self._take(event)
        if ended:
            self._end()

    def _receive(self) -> tuple[bytes, list[int]] | None:
        """Return one message and the descriptors with it, None if there is none.

        At the end of the stream the socket is not watched any more.
        """
        while True:
            try:
                flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
                data, descriptors = receive(self._socket, _MAX_DESCRIPTORS, flags)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno != errno.ECONNRESET:  # said once; what was sent before can still be read
                    raise
                continue
            if data:
                return data, descriptors
            with suppress(FileNotFoundError):
                self._poll.unregister(self._socket)
            return None

    def _take(self, event: ZygoteEvent) -> None:
        if isinstance(event, ZygoteEnded):  # its own word, said before it goes
            self._reason = event.reason
            return
        if isinstance(event, Started):
            self._living[event.key] = event.pid
        elif isinstance(event, Ended) and self._living.pop(event.key, None) is None and event.pid:
            self._events.append(Started(event.key, event.pid))  # it was ended before it could say so
        self._events.append(event)

    def _end(self) -> None:
        self._has_ended = True
        status = self._process.wait() if self._process is not None else _wait(self.pid)
        for pid in self._living.values():  # they die with the zygote, what they started does not
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        self._living.clear()
        self._outbox.clear()
        self._socket.close()
        self._events.append(ZygoteEnded(self._reason or f"the zygote ended: {describe_status(status)}"))


def describe_status(status: int) -> str:
    """Return an exit code in words; a negative one is the number of a signal."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def _spawn(
    theirs: socket.socket, preload: Sequence[str], descriptors: Sequence[int], orphan_seconds: float
) -> "subprocess.Popen[bytes]":
    about = (theirs.fileno(), os.getpid(), ",".join(preload), orphan_seconds)
    arguments = [*map(str, about), *map(str, sys.path)]
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        pass_fds=(theirs.fileno(), *descriptors),
        start_new_session=True,
    )


def _fork(ours: socket.socket, theirs: socket.socket, preload: Sequence[str], orphan_seconds: float) -> int:
    if threading.active_count() != 1:
        names = ", ".join(thread.name for thread in threading.enumerate())
        raise RuntimeError(f"a process with several threads cannot be forked: {names}")
    owner = os.getpid()
    flush_output()
    pid = os.fork()
    if pid:
        return pid
    try:
        ours.close()
        os.setsid()
        serve(theirs, owner, preload, orphan_seconds)
    finally:  # never back into the owner's program
        os._exit(1)


def _wait(pid: int) -> int:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # somebody has SIGCHLD ignored
        return 0
