"""The zygote itself: one thread that waits for its owner's commands, for its children's ends and for its owner's end.

It must never make a thread, a ZeroMQ context or an asyncio loop: forked children would get half of them. Every child is
its own session and process group, and dies with the zygote (PR_SET_PDEATHSIG is safe here: it fires when the forking
*thread* ends, and there is one).
"""

import ctypes
import gc
import importlib
import os
import pickle
import random
import select
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from math import ceil
from types import FrameType
from typing import NoReturn

from scaler_runtime.dump import add_sections, dump_on_signal, forget_sections, write_dump
from scaler_runtime.early_signals import end_when_asked
from scaler_runtime.free_memory import give_back_free_memory
from scaler_runtime.stderr_relay import StderrRelay
from scaler_runtime.zygote_events import (
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
)

MAX_DESCRIPTORS = 8
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_LAST_WORDS_SECONDS = 0.2  # at the end, for a standard error that is slow
_DYING_SECONDS = 2.0  # from an owner's last descriptor, which is closed before, to its end
_OWN_SIGNALS = (signal.SIGCHLD, signal.SIGTERM)
_libc = ctypes.CDLL(None, use_errno=True)


def main(descriptor: str, owner_pid: str, preload: str, orphan_seconds: str) -> NoReturn:
    """Run a zygote that was started as a program of its own."""
    sys.argv[1:] = []
    modules = [name for name in preload.split(",") if name]
    serve(socket.socket(fileno=int(descriptor)), int(owner_pid), modules, float(orphan_seconds))


def serve(connection: socket.socket, owner_pid: int, preload: Sequence[str], orphan_seconds: float = 0.0) -> NoReturn:
    """Import what is to be shared, then serve the owner until it is gone or asks to end. Ends this process."""
    try:
        _ZygoteProcess(connection, owner_pid, orphan_seconds).run(preload)
    except BaseException:  # noqa: BLE001 - nothing may return into a forked owner's program
        traceback.print_exc()
        os._exit(1)


def flush_output() -> None:
    """Write out what is buffered, so that it is neither lost nor, by a fork, written twice."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, AttributeError, OSError):  # closed, none, or nobody reads it
            stream.flush()


class _ZygoteProcess:
    def __init__(self, connection: socket.socket, owner_pid: int, orphan_seconds: float) -> None:
        self._connection = connection
        self._owner_pid = owner_pid
        self._owner = _watch(owner_pid)
        self._orphan_seconds = orphan_seconds
        self._is_orphan = False
        self._pids: dict[str, int] = {}
        self._keys: dict[int, str] = {}
        self._outbox: deque[bytes] = deque()
        self._relay = StderrRelay()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._terminated = False
        self._kill_at: float | None = None  # set while closing
        self._closing = False
        self._handled: list[int] = []

    def run(self, preload: Sequence[str]) -> NoReturn:
        self._handle_signals()
        self._import(preload)
        self._handled = _handled_signals()
        gc.collect()
        give_back_free_memory()  # what the zygote does not have, its children need not share
        gc.freeze()  # the collector leaves alone, and so shared with the children, what exists now
        poll = select.poll()
        for descriptor in (self._owner, self._wake_read, self._connection.fileno()):
            poll.register(descriptor, select.POLLIN)
        self._relay.register(poll)
        while True:
            if self._is_orphan:  # only its children are left to listen to
                poll = select.poll()
                poll.register(self._wake_read, select.POLLIN)
            else:
                poll.modify(self._connection, select.POLLIN | select.POLLOUT if self._outbox else select.POLLIN)
            for descriptor, _ in poll.poll(self._patience_ms()):
                if descriptor == self._owner:
                    self._lose_owner()
            with suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
            if self._terminated:
                self._kill_all()
            self._reap()
            self._relay.turn()
            if not self._is_orphan:
                self._obey()
                self._flush()
            self._close_when_due()

    # ---- beginning

    def _handle_signals(self) -> None:
        """Wake the loop by signals. Ctrl-C is the owner's affair."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        add_sections({"children": lambda: [f"{pid} {key}" for key, pid in self._pids.items()]})
        dump_on_signal(self._on_dump_asked)

    def _on_dump_asked(self) -> None:
        os.write(2, f"{write_dump()}\n".encode())

    def _on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        self._terminated = True

    def _import(self, preload: Sequence[str]) -> None:
        for name in preload:
            module, _, function = name.partition(":")
            try:
                imported = importlib.import_module(module)
                if function:
                    getattr(imported, function)()
            except BaseException as error:  # noqa: BLE001 - a module may raise anything, SystemExit too
                reason = f"the zygote cannot import {name}: {type(error).__name__}: {error}"
                self._connection.send(pickle.dumps(ZygoteEnded(reason)), socket.MSG_NOSIGNAL)
                traceback.print_exc()
                os._exit(1)

    # ---- children

    def _obey(self) -> None:
        """Carry out the commands that wait."""
        while True:
            try:
                data, descriptors = receive(self._connection, MAX_DESCRIPTORS, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionError:
                data, descriptors = b"", []
            if not data:
                self._lose_owner()
                return
            command: Command = pickle.loads(data)
            if isinstance(command, Start):
                if not self._closing:
                    self._fork(command, tuple(descriptors))
                for descriptor in descriptors:
                    os.close(descriptor)
            elif isinstance(command, Signal):
                pid = self._pids.get(command.key)
                if pid is not None:
                    _signal_group(pid, command.number)
            else:
                self._close(command)

    def _fork(self, command: Start, descriptors: tuple[int, ...]) -> None:
        flush_output()
        zygote = os.getpid()
        stderr: int | None = None
        signal.pthread_sigmask(signal.SIG_BLOCK, _OWN_SIGNALS)  # none may meet the zygote's handlers in the child
        try:
            stderr = self._relay.open(command.key) if command.keeps_stderr else None
            pid = os.fork()
        except OSError as error:
            self._put(Said(command.key, ("failed", f"cannot fork: {error.strerror}")))
            self._put(Ended(command.key, 0, 1, None, self._relay.end(command.key)))
            return
        else:
            if pid == 0:
                for descriptor in (self._owner, self._wake_read, self._wake_write):
                    os.close(descriptor)
                self._relay.be_child(stderr)
                _be_child(
                    command, Channel(command.key, self._connection, descriptors, self._owner_pid), zygote, self._handled
                )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OWN_SIGNALS)
            if stderr is not None:
                os.close(stderr)
        self._pids[command.key] = pid
        self._keys[pid] = command.key

    def _reap(self) -> None:
        """Report who has ended. Its process group goes first: as long as its zombie is there, so is the group's id."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(found.si_pid, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(found.si_pid, 0)[1])
            key = self._keys.pop(found.si_pid, None)
            if key is not None:  # else a leftover of an imported module
                del self._pids[key]
                tail = self._relay.end(key)
                self._put(Ended(key, found.si_pid, code if code >= 0 else None, -code if code < 0 else None, tail))

    # ---- end

    def _close(self, command: Close) -> None:
        self._closing = True
        self._kill_at = time.monotonic() + command.grace_seconds
        for pid in self._keys:
            _signal_group(pid, signal.SIGTERM)

    def _lose_owner(self) -> None:
        """End the children of an owner that has ended: at once, or in order where they have been granted time.

        What ends because another has ended may rely on that: nobody below sees a dying process still running.
        """
        ended = select.poll()
        ended.register(self._owner, select.POLLIN)
        ended.poll(_DYING_SECONDS * 1000)
        if not self._orphan_seconds:
            self._kill_all()
        self._is_orphan = True
        self._outbox.clear()
        if not self._closing:
            self._close(Close(self._orphan_seconds))

    def _close_when_due(self) -> None:
        if not self._closing:
            return
        if not self._keys and not self._outbox:
            self._relay.finish(_LAST_WORDS_SECONDS)
            os._exit(0)
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at = None
            for pid in self._keys:
                _signal_group(pid, signal.SIGKILL)

    def _kill_all(self) -> NoReturn:
        for pid in self._keys:
            _signal_group(pid, signal.SIGKILL)
        for pid in self._keys:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._relay.finish(_LAST_WORDS_SECONDS)
        os._exit(0)

    # ---- words to the owner

    def _put(self, event: ZygoteEvent) -> None:
        if not self._is_orphan:
            self._outbox.append(pickle.dumps(event))

    def _flush(self) -> None:
        while self._outbox:
            try:
                self._connection.send(self._outbox[0], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except ConnectionError:
                self._lose_owner()
                return
            self._outbox.popleft()

    def _patience_ms(self) -> int | None:
        return None if self._kill_at is None else ceil(max(0.0, self._kill_at - time.monotonic()) * 1000)


def _watch(owner_pid: int) -> int:
    """Return a pidfd of the owner; if it is gone already, so is this process."""
    try:
        descriptor = os.pidfd_open(owner_pid)
    except ProcessLookupError:
        os._exit(0)
    if os.getppid() != owner_pid:
        os._exit(0)
    return descriptor


def _signal_group(pid: int, number: int) -> None:
    """Signal a child that is not reaped, so that the number is its own; before it has made its group, only itself."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    except PermissionError:  # somebody in the group runs as another user
        os.kill(pid, number)


def _handled_signals() -> list[int]:
    """Return the signals that have a handler here: an own one, or an imported module's."""
    return [number for number in signal.valid_signals() if callable(signal.getsignal(number))]


def _be_child(command: Start, channel: Channel, zygote_pid: int, handled: Sequence[int]) -> NoReturn:
    """Run a child from its first instruction to its last.

    What happens here happens in each child: every function it calls costs each a page or two of the memory that it
    shares with the zygote, as calling writes to it (`designs/0008`).
    """
    code = 1
    try:
        os.setsid()
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != zygote_pid:  # it ended before it could be told
            os._exit(1)
        _reset_signals(handled, ends_when_asked=command.ends_when_asked)
        _reseed()
        channel.send(Started(command.key, os.getpid()))
        code = _call(command, channel)
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException:  # noqa: BLE001 - reported like any program's last exception
        traceback.print_exc()
    finally:
        flush_output()
        os._exit(code)


def _reset_signals(handled: Sequence[int], *, ends_when_asked: bool) -> None:
    signal.set_wakeup_fd(-1)
    for number in handled:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until the child has something to write down
    forget_sections()
    if ends_when_asked:
        end_when_asked()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OWN_SIGNALS)


def _reseed() -> None:
    """Give the child random numbers of its own. (`random` does so at a fork; numpy's global state does not.)"""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _call(command: Start, channel: Channel) -> int:
    module, _, name = command.target.partition(":")
    target = getattr(importlib.import_module(module), name)
    return int(target(pickle.loads(command.arguments), channel) or 0)


def _exit_code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Be a handler, so that the signal is noticed at all."""
