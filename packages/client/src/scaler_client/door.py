"""Where other threads leave work for the IO thread: single calls, whole batches, orders; all in one order.

Consecutive calls with the same terms collect in an open batch until the IO thread comes by, so that what is submitted
while it is busy travels together.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from scaler_client.batches import Batch
from scaler_client.calls import OpenBatch, Terms
from scaler_client.exceptions import ClientQuitException
from scaler_client.functions import Function
from scaler_client.future import ScalerFuture, TaskOwner, Ticket
from scaler_protocol.batch import MAX_BATCH_BYTES, MAX_BATCH_TASKS, Encoding
from scaler_protocol.messages import Capabilities

Order = Callable[[], object]
"""Something else for the IO thread to do."""

Left = OpenBatch | Batch | Order


class Door:
    """See the module. `closed_reason` says why nothing comes in any more; it is empty before."""

    def __init__(self, owner: TaskOwner, wake: Callable[[], None], last_batch_id: int = 0) -> None:
        """`last_batch_id`: ids up to this one were given out before."""
        self.closed_reason = ""
        self.held_reason = ""
        """Why nothing comes in for now."""
        self.room = threading.Event()
        """Cleared by the IO thread while more waits than may; submitting waits for it meanwhile."""
        self.room.set()
        self.io_thread: threading.Thread | None = None
        """Never waits for room, which it makes itself."""
        self._owner = owner
        self._wake = wake
        self._lock = threading.Lock()  # guards what follows
        self._open: OpenBatch | None = None
        self._left: deque[Left] = deque()
        self._batch_count = last_batch_id

    @property
    def last_batch_id(self) -> int:
        """The last id that was given out."""
        return self._batch_count

    def check_open(self) -> None:
        """Raise `ClientQuitException` once the client has stopped."""
        if self.closed_reason or self.held_reason:
            raise ClientQuitException(self.closed_reason or self.held_reason)

    def add_call(
        self,
        function: Function,
        encoding: Encoding,
        item: Any,
        *,
        size: int,
        priority: int,
        timed: bool,
        capabilities: Capabilities,
    ) -> ScalerFuture:
        """Leave one call, given as `encoding` says; `size` counts for calls that are pickled already."""
        if not self.room.is_set():
            self._wait_for_room()
        with self._lock:
            batch = self._open
            if (
                batch is None
                or batch.terms.function is not function
                or batch.terms.encoding is not encoding
                or batch.size >= MAX_BATCH_BYTES
                or len(batch.items) >= MAX_BATCH_TASKS
                or len(batch.items) != len(batch.futures)  # Ctrl-C came in the middle of a call
                or batch.terms.priority != priority
                or batch.terms.timed is not timed
                or batch.terms.capabilities != capabilities
            ):
                batch = self._begin(Terms(function, encoding, priority, timed, capabilities))
            future = ScalerFuture(batch.ticket, len(batch.futures))
            batch.items.append(item)
            batch.futures.append(future)
            batch.size += size
        self._wake()
        return future

    def add_batch(self, make: Callable[[int], Batch]) -> int:
        """Leave the batch that `make` makes with its id; return the id."""
        if not self.room.is_set():
            self._wait_for_room()
        with self._lock:
            batch_id = self._next_batch_id()
            self._close_open()
            self._left.append(make(batch_id))
        self._wake()
        return batch_id

    def add_batches(self, count: int, make: Callable[[int], list[Batch]]) -> None:
        """Leave batches side by side: `make` makes them, given the first of `count` ids."""
        if not self.room.is_set():
            self._wait_for_room()
        with self._lock:
            first = self._next_batch_id()
            self._batch_count += count - 1
            self._close_open()
            self._left.extend(make(first))
        self._wake()

    def order(self, order: Order) -> None:
        """Leave an order; nothing happens once the client has stopped."""
        with self._lock:
            if self.closed_reason:
                return
            self._close_open()
            self._left.append(order)
        self._wake()

    def take(self) -> deque[Left]:
        """Return what was left since the last time, in order."""
        if self._open is None and not self._left:
            return _NOTHING
        with self._lock:
            return self._take()

    def close(self, reason: str) -> deque[Left]:
        """Let nothing in any more, and return what was left since the last time."""
        with self._lock:
            self.closed_reason = self.closed_reason or reason
            return self._take()

    def close_in_child(self, reason: str) -> deque[Left]:
        """Do the same in a forked process, where the locks may be held by threads that are not there."""
        self._lock = threading.Lock()
        self.room = threading.Event()
        self.room.set()
        return self.close(reason)

    def _begin(self, terms: Terms) -> OpenBatch:
        batch_id = self._next_batch_id()
        self._close_open()
        self._open = OpenBatch(terms, Ticket(self._owner, batch_id))
        return self._open

    def _next_batch_id(self) -> int:
        self.check_open()
        self._batch_count += 1
        return self._batch_count

    def _close_open(self) -> None:
        if self._open is not None:
            self._left.append(self._open)
            self._open = None

    def _take(self) -> deque[Left]:
        self._close_open()
        left, self._left = self._left, deque()
        return left

    def _wait_for_room(self) -> None:
        if threading.current_thread() is not self.io_thread:
            self.room.wait()


_NOTHING: deque[Left] = deque()
