"""A thread of its own for calls that block, one after the other; a program does not wait for it when it ends.

Neither the loop's own threads nor those of `concurrent.futures` will do: both are waited for at the end, and an engine
that hangs must not keep the adapter from stopping in time.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

_T = TypeVar("_T")


class EngineThread:
    """See the module."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def call(self, function: Callable[[], _T]) -> _T:
        """Return what the function returns. A call that is cut off before its turn is not made; else it goes on."""
        future: Future[_T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's
                future.set_exception(error)
            else:
                future.set_result(result)

        self._jobs.put(job)
        return await asyncio.wrap_future(future)

    def close(self, last: Callable[[], None] | None = None) -> None:
        """Let the thread end when it has done what it was asked, and `last`. May be repeated."""
        if last is not None:
            self._jobs.put(last)
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
