"""Starts programs in child processes of one small launcher process, and knows what has become of them.

The launcher (a zygote) imports what its children need once, while the caller does something else, then forks them: the
caller's script does not run again, and no program with threads is forked. It ends with the caller, however that ends.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scaler_runtime.zygote import Said, Started, Zygote, ZygoteEnded, ZygoteEvent, describe_status

START_SECONDS = 60.0
"""How long a child may take until it says that it is ready, or has a pid."""

_LOST = -9
"""The exit code of children whose launcher is gone: it is their end, too."""


class StartError(RuntimeError):
    """A child did not become ready; one line says why."""


@dataclass(slots=True)
class _Child:
    name: str
    pid: int | None = None
    has_ended: bool = False
    exit_code: int | None = None
    reason: str = ""
    said: deque[object] = field(default_factory=deque[object])


class Launcher:
    """See the module. All methods may be called from several threads."""

    def __init__(self, preload: Sequence[str]) -> None:
        """Start the launcher process; returns before it has imported `preload`."""
        self._zygote = Zygote(preload)
        self._children: dict[str, _Child] = {}
        self._changed = threading.Condition()
        self._someone_reads = False
        self._is_closed = False

    def start(self, name: str, target: str, config: object) -> None:
        """Start `target`, a `package.module:function`; it is called with ((config, its parent's pid), channel)."""
        with self._changed:
            self._children[name] = _Child(name)
        self._zygote.start(name, target, (config, self._zygote.pid), ends_when_asked=True)

    def said(self, name: str, seconds: float = START_SECONDS) -> object:
        """Return what the child says next; `StartError` if it has failed or ended, or is silent for so long."""
        child = self._children[name]
        self._wait(lambda: bool(child.said) or child.has_ended, seconds)
        if child.said:
            return child.said.popleft()
        if child.has_ended:
            raise StartError(f"the {name} ended before it was ready: {child.reason}")
        raise StartError(f"the {name} was not ready within {seconds:g} seconds")

    def listening_address(self, name: str) -> str:
        """Return the address that the child says it listens on; `StartError` with its line if it cannot."""
        match self.said(name):
            case ("listening", str(address)):
                return address
            case ("failed", str(reason)):
                raise StartError(reason)
            case other:
                raise StartError(f"the {name} said {other!r}")

    def pid(self, name: str) -> int:
        """Return the child's pid, as soon as it has one."""
        child = self._children[name]
        self._wait(lambda: child.pid is not None or child.has_ended, START_SECONDS)
        if child.pid is None:
            raise StartError(f"the {name} could not be started: {child.reason}")
        return child.pid

    def wait_ended(self, name: str, seconds: float | None) -> bool:
        """Wait for the child's end; return whether it has ended."""
        child = self._children[name]
        return self._wait(lambda: child.has_ended, seconds)

    def exit_code(self, name: str) -> int | None:
        """Return the child's exit code, negative for a signal's number, or None while it has not ended."""
        child = self._children[name]
        self._wait(lambda: child.has_ended, 0.0)
        return child.exit_code

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a child and the processes of its group; nothing happens if it has ended."""
        with self._changed:
            if not self._is_closed and not self._children[name].has_ended:
                self._zygote.signal(name, number)

    def close(self, grace_seconds: float = 0.0) -> None:
        """End all children, by SIGKILL after `grace_seconds`, then the launcher."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
        self._zygote.close(grace_seconds)
        with self._changed:
            self._take(ZygoteEnded("closed"))

    def _wait(self, reached: Callable[[], bool], seconds: float | None) -> bool:
        """Read events until `reached`, or for so long. One thread reads at a time, the others learn from it."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            with self._changed:
                if reached() or self._is_closed:
                    return reached()
                if self._someone_reads:
                    if not self._changed.wait(_left(deadline)):
                        return reached()
                    continue
                self._someone_reads = True
            event = None
            try:
                event = self._zygote.wait_event(_left(deadline))
            finally:
                with self._changed:
                    self._someone_reads = False
                    if event is not None:
                        self._take(event)
                    self._changed.notify_all()
            if event is None and deadline is not None and time.monotonic() >= deadline:
                return reached()

    def _take(self, event: ZygoteEvent) -> None:
        if isinstance(event, ZygoteEnded):
            for child in self._children.values():
                if not child.has_ended:
                    child.has_ended, child.exit_code, child.reason = True, _LOST, event.reason
        elif isinstance(event, Started):
            self._children[event.key].pid = event.pid
        elif isinstance(event, Said):
            self._children[event.key].said.append(event.message)
        else:
            child = self._children[event.key]
            child.has_ended = True
            child.exit_code = event.exit_code if event.signal is None else -event.signal
            child.reason = describe_status(child.exit_code or 0)
        self._changed.notify_all()


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
