"""A thread for the callbacks of futures, which may wait for other futures that the IO thread completes meanwhile."""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

_log = logging.getLogger(__name__)


class CallbackThread:
    """Runs what it is given, one after the other; the thread begins with the first."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._started = False

    def run(self, callback: Callable[[], object]) -> None:
        """Have `callback` called soon. Only one thread may call this: the IO thread."""
        self._queue.put(callback)
        if not self._started:
            self._started = True
            threading.Thread(target=_serve, args=(self._queue,), name=self._name, daemon=True).start()

    def close(self) -> None:
        """End the thread after what it was given."""
        self._queue.put(None)


def _serve(queue: "SimpleQueue[Callable[[], object] | None]") -> None:
    while (callback := queue.get()) is not None:
        try:
            callback()
        except BaseException:  # noqa: BLE001 - the user's function: its SystemExit shall not cost the others
            _log.exception("exception calling the callback %r of a future", callback)
        del callback
