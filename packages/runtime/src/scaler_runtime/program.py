"""Runs an asyncio program from its first signal to its last: the chosen loop, orderly stop, and the end of its parent.

SIGINT and SIGTERM ask to stop; a second one ends at once. A child that is told its parent's pid ends with the parent.
"""

import asyncio
import logging
import os
import resource
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from scaler_runtime.dump import dump_on_signal, write_dump
from scaler_runtime.early_signals import STOP_SIGNALS
from scaler_runtime.options import ProcessConfig

MIN_DESCRIPTORS = 48
"""What a program opens for itself, and a few peers. With less, libzmq ends the process (epoll.cpp)."""

_SECOND_SIGNAL_EXIT = 130
_log = logging.getLogger(__name__)

Main = Callable[[asyncio.Event], Coroutine[Any, Any, int]]
"""Gets an event that is set when the program shall stop; returns the exit code."""


class ProgramError(Exception):
    """A failure while running, one line."""


def run_program(main: Main, process: ProcessConfig, parent_pid: int | None = None) -> int:
    """Run `main` to its end and return its exit code. `ProgramError` where the system allows too few descriptors.

    `parent_pid`: the process that started this one; when it ends, however it ends, so shall this program.
    """
    _require_descriptors()
    before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGUSR1)}
    try:
        with asyncio.Runner(loop_factory=_loop_factory(process.event_loop)) as runner:
            return runner.run(_supervised(main, parent_pid))
    finally:  # the loop leaves the system's own behaviour behind
        for number, handler in before.items():
            if handler is not None:  # else it was not Python that installed it
                signal.signal(number, handler)


def _require_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= MIN_DESCRIPTORS:
        return
    if hard != resource.RLIM_INFINITY and hard < MIN_DESCRIPTORS:
        raise ProgramError(f"{MIN_DESCRIPTORS} file descriptors are needed, the limit is {hard}: see `ulimit -n`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (MIN_DESCRIPTORS, hard))


async def _supervised(main: Main, parent_pid: int | None) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():
            os._exit(_SECOND_SIGNAL_EXIT)
        stopping.set()

    def dump() -> None:
        # at once, even if the loop is stuck; the line waits, since this may interrupt another one
        loop.call_soon_threadsafe(_log.warning, "%s", write_dump())

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal)
    dump_on_signal(dump)
    parent = None if parent_pid is None else _watch(loop, parent_pid, stopping)
    try:
        return await main(stopping)
    finally:
        if parent is not None:
            loop.remove_reader(parent)
            os.close(parent)


def _watch(loop: asyncio.AbstractEventLoop, parent_pid: int, stopping: asyncio.Event) -> int | None:
    try:
        descriptor = os.pidfd_open(parent_pid)
    except ProcessLookupError:
        descriptor = None
    if descriptor is None or os.getppid() != parent_pid:  # it ended before it could be watched
        stopping.set()
        return descriptor

    def on_end() -> None:
        loop.remove_reader(descriptor)
        stopping.set()

    loop.add_reader(descriptor, on_end)
    return descriptor


def _loop_factory(event_loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if event_loop != "uvloop":
        return None
    import uvloop

    return uvloop.new_event_loop
