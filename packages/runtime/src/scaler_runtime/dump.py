"""On SIGUSR1 a process writes down what it knows, as text for a bug report: its tables, queues, peers and threads.

The file lies in the directory for temporary files and is bounded in size. Whatever goes wrong while it is written ends
nothing: a section that fails says so in its place.
"""

import faulthandler
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from types import FrameType

MAX_LINES = 500
"""Of a section; how many more there are is not counted, since that may take long."""

MAX_LINE_LENGTH = 400
MAX_SECTIONS = 50
_DIRECTORY = "/tmp"  # noqa: S108 - the file must not exist, and is its owner's alone

Lines = Callable[[], Iterable[str]]
"""Tells of a part of the state, a line at a time. Changes nothing and takes no lock of the thread that writes."""


def add_sections(sections: Mapping[str, Lines]) -> Callable[[], None]:
    """Have these sections in the dump, by their titles; call what is returned to take them out."""
    taken = {_free_title(title): lines for title, lines in sections.items()}
    _sections.update(taken)

    def remove() -> None:
        for title in taken:
            _sections.pop(title, None)

    return remove


def forget_sections() -> None:
    """Take all out: they tell of the process that this one was forked from."""
    _sections.clear()


def dump_on_signal(on_signal: Callable[[], None]) -> None:
    """Have SIGUSR1 call `on_signal`, in the main thread, whatever that is doing. Must be called by the main thread.

    It calls `write_dump`, or has another thread do that. It must not log: it may interrupt just that.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        on_signal()

    signal.signal(signal.SIGUSR1, handle)


def write_dump() -> str:
    """Write everything down; returns a line to be logged, which says where it is, or why there is none."""
    path = f"{os.environ.get('TMPDIR') or _DIRECTORY}/scaler-state-{os.getpid()}-{time.time_ns()}.txt"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for line in _text():
                os.write(descriptor, f"{line}\n".encode(errors="replace"))
            faulthandler.dump_traceback(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return f"the state cannot be written to {path}: {error.strerror}"
    return f"wrote the state to {path}"


def age(then: float | None, now: float) -> str:
    """Return how long ago something was, for people."""
    return "never" if then is None else f"{now - then:.1f} s ago"


_sections: dict[str, Lines] = {}


def _free_title(title: str) -> str:
    number, free = 1, title
    while free in _sections:
        number += 1
        free = f"{title} {number}"
    return free


def _text() -> Iterable[str]:
    yield from _section("process", _process)
    for title, lines in list(islice(_sections.items(), MAX_SECTIONS)):
        yield from _section(title, lines)
    yield "\n== threads =="


def _section(title: str, lines: Lines) -> Iterable[str]:
    yield f"\n== {title} =="
    try:
        for number, line in enumerate(lines()):
            if number == MAX_LINES:
                yield "... and more"
                return
            yield line if len(line) <= MAX_LINE_LENGTH else f"{line[:MAX_LINE_LENGTH]}..."
    except Exception as error:  # noqa: BLE001 - the other sections are wanted all the same
        yield f"(not complete: {type(error).__name__}: {str(error)[:MAX_LINE_LENGTH]})"


def _process() -> Iterable[str]:
    yield f"written  {time.strftime('%Y-%m-%d %H:%M:%S%z')}, monotonic clock {time.monotonic():.3f}"
    yield f"command  {' '.join(sys.orig_argv)}"
    yield f"python   {sys.version.split()[0]}, pid {os.getpid()}, parent {os.getppid()}"
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield f"cpu      {usage.ru_utime:.1f} s user, {usage.ru_stime:.1f} s system"
    yield f"memory   {_resident()}, at most {usage.ru_maxrss >> 10} MiB"
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield f"files    {len(os.listdir('/proc/self/fd'))} descriptors, limit {soft}"  # noqa: PTH208 - names are counted
    yield f"threads  {', '.join(thread.name for thread in threading.enumerate())}"


def _resident() -> str:
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - the cheapest way
        return f"{int(file.read().split()[1]) * resource.getpagesize() >> 20} MiB resident"
