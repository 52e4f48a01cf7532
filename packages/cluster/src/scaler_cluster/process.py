"""A program in a child process, with the members of `multiprocessing.Process` that users of Scaler know.

It ends with the process that started it: in order when the interpreter ends, at once if that is killed.
"""

import abc
import atexit
import contextlib
import os
import signal
from types import TracebackType
from typing import Self

from scaler_cluster.launcher import Launcher, StartError

STOP_SECONDS = 12.0
"""How long a program may take to stop in order: 10 seconds are promised, the rest is for a busy machine."""

_JOIN_KILLED_SECONDS = 5.0


class ProgramProcess(abc.ABC):
    """See the module. `target` is a function `package.module:function` for a `Launcher`."""

    def __init__(self, name: str, target: str, config: object) -> None:
        self.name = name
        self._target = target
        self._config = config
        self._launcher: Launcher | None = None
        self._owner_pid = 0
        self._is_stopping = False

    @abc.abstractmethod
    def run(self) -> int:
        """Run the program in this process; returns its exit code."""

    def start(self) -> None:
        """Start the child process; returns before it is ready."""
        if self._launcher is not None:
            raise RuntimeError(f"the {self.name} was started before")
        self._owner_pid = os.getpid()
        self._launcher = Launcher([self._target.partition(":")[0]])
        _running.add(self)
        self._launcher.start(self.name, self._target, self._config)

    def wait_listening(self) -> str:
        """Return the address of a server's as soon as it listens; `StartError` with one line if it cannot."""
        return self._started().listening_address(self.name)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the child has ended, or for so many seconds."""
        launcher = self._started()
        if launcher.wait_ended(self.name, timeout):
            launcher.close()
            _running.discard(self)

    def terminate(self) -> None:
        """Ask the program to stop in order (SIGTERM)."""
        self._started().signal(self.name, signal.SIGTERM)
        self._is_stopping = True

    def kill(self) -> None:
        """End the program, and all that it has started, at once (SIGKILL)."""
        self._started().signal(self.name, signal.SIGKILL)

    def is_alive(self) -> bool:
        """Whether the child was started and has not ended."""
        if self._launcher is None:
            return False
        self.join(0.0)
        return self._launcher.exit_code(self.name) is None

    @property
    def pid(self) -> int | None:
        """The child's process id, None before the start."""
        return None if self._launcher is None else self._launcher.pid(self.name)

    @property
    def exitcode(self) -> int | None:
        """The child's exit code, negative for a signal's number; None before its end."""
        return None if self._launcher is None else self._launcher.exit_code(self.name)

    def shutdown(self) -> None:
        """Terminate, then join; what does not end in time is killed. May be repeated."""
        if self._launcher is None or self._owner_pid != os.getpid():
            return
        if not self._is_stopping:  # a second signal would cut the first short
            self.terminate()
        self.join(STOP_SECONDS)
        if self.is_alive():
            self.kill()
            self.join(_JOIN_KILLED_SECONDS)
            self._launcher.close()
        _running.discard(self)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()

    def _started(self) -> Launcher:
        if self._launcher is None:
            raise RuntimeError(f"the {self.name} was not started")
        if self._owner_pid != os.getpid():
            raise RuntimeError(f"the {self.name} belongs to the process that started it")
        return self._launcher


_running: set[ProgramProcess] = set()
"""Keeps what was started until it has ended, whether or not the caller keeps it."""


@atexit.register
def _shut_down_all() -> None:
    for process in list(_running):
        with contextlib.suppress(StartError, OSError):
            process.shutdown()
