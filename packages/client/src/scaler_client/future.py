"""The future of one task. Made in thousands, so that what only a waiting thread needs is made when one waits.

`concurrent.futures` looks into `_condition`, `_waiters` and `_done_callbacks`; they appear together at the first look,
under one lock for all futures. How futures are completed stands in `completion.py`.
"""

import logging
import threading
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, RUNNING
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from scaler_client.context import task_id_of
from scaler_client.exceptions import DeserializeObjectError
from scaler_client.stored_result import StoredResult

if TYPE_CHECKING:
    import asyncio

_log = logging.getLogger(__name__)
lock = threading.RLock()
"""Who holds it can rely on it that no future is looked into for the first time. Nothing else is waited for within."""

_LAZY = frozenset(("_condition", "_waiters", "_done_callbacks"))


class ProfileResult(NamedTuple):
    """What a task took: wall seconds, bytes above the resident size at its start, user and system seconds."""

    duration_s: float = 0.0
    memory_peak: int = 0
    cpu_time_s: float = 0.0


NO_PROFILE = ProfileResult()
"""Of a task that never ran."""


class TaskOwner(Protocol):
    """What a future needs of its client."""

    client_id: bytes

    def cancel(self, batch_id: int, index: int) -> None:
        """Ask for the end of a task; its future is completed in any case, later."""
        ...

    def run_callback(self, callback: Callable[[], object]) -> None:
        """Call a function of the user's, in a thread that may wait."""
        ...


@dataclass(slots=True, eq=False)
class Ticket:
    """Which batch the futures of a batch belong to."""

    owner: TaskOwner
    batch_id: int


class ScalerFuture(Future[Any]):
    """The outcome of one task; running from the beginning. Only clients make futures.

    `done()` turns true by itself. Works with `concurrent.futures.wait` and `as_completed`, and with `await`.
    """

    _state: str = RUNNING
    _result: Any = None
    _exception: BaseException | None = None
    _done_callbacks: list[Callable[["ScalerFuture"], object]]
    _profile: ProfileResult = NO_PROFILE
    _gates: tuple[threading.Lock, ...] = ()  # held by threads that wait here; whoever ends the future releases them
    watched = False
    """Whether somebody has looked into it."""

    def __init__(self, ticket: Ticket, index: int) -> None:
        self._ticket = ticket
        self._index = index

    def __getattr__(self, name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with lock:
            mine = self.__dict__
            if not self.watched:
                mine.update(_waiters=[], _done_callbacks=[], _condition=threading.Condition(), watched=True)
            return mine[name]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ScalerFuture cannot be pickled: pass its result() on")

    @property
    def task_id(self) -> bytes:
        """The 16 bytes that name the task."""
        return task_id_of(self._ticket.owner.client_id, self._ticket.batch_id, self._index)

    def done(self) -> bool:
        """Whether the task has ended, in whatever way."""
        return self._state != RUNNING

    def running(self) -> bool:
        """Whether the task has not ended; also true while it waits for a worker."""
        return self._state == RUNNING

    def cancelled(self) -> bool:
        """Whether the task was ended by cancelling."""
        return self._state == CANCELLED_AND_NOTIFIED

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the task and return its result.

        Raises `concurrent.futures.TimeoutError` after `timeout` seconds, `CancelledError`, or the task's exception.
        A large result is fetched from the object storage by the first call, which raises `ObjectStorageException` where
        that is not possible, and `ClientQuitException` after the client's end. What was fetched stays valid.
        """
        self._wait_for_end(timeout)
        if type(self._result) is StoredResult:
            self._restore(self._result, None)
        error = self._exception
        if error is None:
            return self._result
        try:
            raise error
        finally:
            del self, error  # else the exception would refer to itself, by its traceback and this frame

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the task and return its exception, None where it has a result. Raises as `result` otherwise."""
        self._wait_for_end(timeout)
        if type(self._result) is StoredResult:
            self._restore(self._result, None)
        return self._exception

    def cancel(self, timeout: float | None = None) -> bool:
        """Ask for the end of the task and wait until it has ended.

        True if it ended without a result; False if the result came first. Raises `TimeoutError` after `timeout`
        seconds; the request stands.
        """
        if self._state == RUNNING:
            self._ticket.owner.cancel(self._ticket.batch_id, self._index)
            self._wait(timeout)
        return self._state == CANCELLED_AND_NOTIFIED

    def add_done_callback(self, fn: Callable[["ScalerFuture"], object]) -> None:
        """Have `fn` called once with this future when it is done, at once if it is.

        Its errors are logged; where it is called at once they are raised too.
        """
        if self._state == RUNNING:
            with self._condition:
                if self._state == RUNNING:
                    self._done_callbacks.append(fn)
                    return
        try:
            fn(self)
        except Exception:
            _log.exception("exception calling the callback %r of a future", fn)
            raise

    def profiling_info(self) -> ProfileResult:
        """Return what the task took: its duration, all of it with `Client(profiling=True)`.

        `ValueError` before it has ended.
        """
        if self._state == RUNNING:
            raise ValueError("the task has not ended yet")
        return self._profile

    def __await__(self) -> Generator[Any, None, Any]:
        if self._state == RUNNING:
            import asyncio

            loop = asyncio.get_running_loop()
            reached = loop.create_future()
            self.add_done_callback(LoopWaker(loop, reached))
            yield from reached
        if type(self._result) is StoredResult:
            yield from self._restore_aside(self._result)
        return self.result()

    def _restore_aside(self, stored: StoredResult) -> Generator[Any, None, None]:
        """Fetch without keeping the event loop waiting."""
        view = stored.handle.try_fetch()
        if view is None:
            import asyncio

            view = yield from asyncio.get_running_loop().run_in_executor(None, stored.handle.fetch)
        self._restore(stored, view)

    def _restore(self, stored: StoredResult, view: memoryview | None) -> None:
        """Put the value in its place, and let go of the object; or the reason why it cannot be restored."""
        result, error = None, None
        try:
            result = stored.restore() if view is None else stored.load(view)
        except DeserializeObjectError as reason:
            error = reason.with_traceback(None)
        with lock:
            if self._result is stored:  # else another thread was here first
                self._result, self._exception = result, error

    def _wait_for_end(self, timeout: float | None) -> None:
        if self._state == RUNNING:
            self._wait(timeout)
        if self._state == CANCELLED_AND_NOTIFIED:
            raise CancelledError

    def _wait(self, timeout: float | None) -> None:
        gate = threading.Lock()
        gate.acquire()
        with lock:
            if self._state != RUNNING:
                return
            self._gates = (*self._gates, gate)
        if timeout is None:
            gate.acquire()
        elif not gate.acquire(timeout=max(0.0, timeout)):
            with lock:
                self._gates = tuple(other for other in self._gates if other is not gate)
                if self._state == RUNNING:
                    raise TimeoutError


class LoopWaker:
    """The callback behind `await`: quick, so that it needs no thread of its own."""

    def __init__(self, loop: "asyncio.AbstractEventLoop", reached: "asyncio.Future[None]") -> None:
        self._loop = loop
        self._reached = reached

    def __call__(self, future: ScalerFuture) -> None:
        try:
            self._loop.call_soon_threadsafe(self._arrive)
        except RuntimeError:  # the loop was closed meanwhile
            _log.debug("a future was awaited on a loop that is closed")

    def _arrive(self) -> None:
        if not self._reached.done():
            self._reached.set_result(None)
