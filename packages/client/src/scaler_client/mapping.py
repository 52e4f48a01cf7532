"""One `map`: items go out in batches as the work goes on, results come back into a list; there are no futures.

The calling thread feeds and waits, and fetches large results meanwhile; the IO thread fills in. Each writes its own
counters only.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from scaler_client.calls import Terms
from scaler_client.future import ProfileResult
from scaler_client.outcomes import Failure
from scaler_client.packing import Packed
from scaler_client.stored_result import StoredResult
from scaler_protocol.batch import MAX_BATCH_TASKS

if TYPE_CHECKING:
    from scaler_client.agent import Agent

MAX_AHEAD_TASKS = 1 << 18
MAX_AHEAD_BYTES = 64 << 20
"""The most that is on its way at once."""

MIN_AHEAD_TASKS = 4096
"""How far an iterator of unknown length is read ahead at first; later as far as was finished already."""

_CHUNK_SECONDS = 0.005
_MISSING: Final = object()
"""Stands in the list of results where there is none yet."""


class MapCall:
    """See the module."""

    def __init__(self, agent: "Agent", *, reads_ahead: bool) -> None:
        self._agent = agent
        self._reads_ahead = reads_ahead
        self._results: list[Any] = []
        self._parts: dict[int, _Part] = {}
        # written by the calling thread
        self._fed_tasks = 0
        self._fed_bytes = 0
        self._waits_for: Callable[[], bool] = _never
        self._is_over = False
        # written by the IO thread
        self._done_tasks = 0
        self._done_bytes = 0
        # by both
        self._failing = threading.Lock()  # guards the two that follow
        self._failed_at: int | None = None
        self._failure: Failure | None = None
        self._gapless = 0  # items before this one have results; counted once there is a failure
        self._stored: deque[tuple[int, StoredResult]] = deque()  # to be fetched
        self._progress = threading.Event()

    def run(self, batches: Generator[tuple[Terms, Packed], None, None]) -> list[Any]:
        """Submit the batches and return all results in order, or raise the exception of the first item that failed."""
        try:
            with closing(batches):  # it holds the arguments of the last batch
                for terms, packed in batches:
                    self._feed(terms, packed)
                    del packed
                    self._wait(self._may_read_on)
                    if self._failure is not None:
                        break
            self._wait(self._is_complete)
            if self._failure is not None:
                self._abandon(self._failed_at or 0)
                self._wait(self._is_decided)
        except BaseException:
            self._give_up()
            raise
        if self._failure is None:
            results = self._results
            self._give_up()
            return results
        self._give_up()
        raise self._failure()

    def _give_up(self) -> None:
        """Let go of everything: a traceback may keep this object for long, and it and its parts keep each other."""
        self._is_over = True
        self._abandon(-1)
        self._results = []
        self._stored.clear()

    def _feed(self, terms: Terms, packed: Packed) -> None:
        part = _Part(self, len(self._results), packed)
        self._results.extend([_MISSING] * packed.count)
        self._fed_tasks += packed.count
        self._fed_bytes += packed.size
        self._parts[self._agent.submit(terms, packed, part)] = part

    def _abandon(self, after: int) -> None:
        """Give up the batches that begin after an item."""
        parts = [(batch_id, part) for batch_id, part in self._parts.items() if part.offset > after]
        for batch_id, _ in parts:
            del self._parts[batch_id]
        unwanted = [batch_id for batch_id, part in parts if not part.is_over]
        if unwanted:
            self._agent.abandon(unwanted)

    def _wait(self, reached: Callable[[], bool]) -> None:
        if not self._stored and reached():
            return
        self._waits_for = reached
        while True:
            while self._stored:
                self._restore(*self._stored.popleft())
            if reached() and not self._stored:
                break
            self._progress.wait()
            self._progress.clear()
        self._waits_for = _never

    def _restore(self, at: int, stored: StoredResult) -> None:
        """Fetch a large result; the object goes with what stood for it."""
        try:
            self._results[at] = stored.restore()
        except Exception as error:  # noqa: BLE001 - one item's failure, like those of its task
            reason = error.with_traceback(None)
            self.fail(at, lambda: reason)

    # ---- what is waited for

    def _may_read_on(self) -> bool:
        ahead = min(MAX_AHEAD_TASKS, max(MIN_AHEAD_TASKS, self._done_tasks)) if self._reads_ahead else MAX_AHEAD_TASKS
        return (
            self._failure is not None
            or self._fed_tasks == self._done_tasks
            or (self._fed_tasks - self._done_tasks < ahead and self._fed_bytes - self._done_bytes < MAX_AHEAD_BYTES)
        )

    def _is_complete(self) -> bool:
        return self._done_tasks == self._fed_tasks or self._failure is not None

    def _is_decided(self) -> bool:
        results, failed_at = self._results, self._failed_at
        if failed_at is None or self._is_over:
            return self._is_over
        while self._gapless < failed_at and results[self._gapless] is not _MISSING:
            self._gapless += 1
        return self._gapless >= failed_at

    # ---- in the IO thread

    def put(self, at: int, values: list[Any]) -> None:
        """Take in results."""
        results = self._results
        if self._is_over:
            return
        results[at : at + len(values)] = values
        if type(values[0]) is StoredResult:  # such a one comes alone
            self._stored.append((at, values[0]))
            self._progress.set()

    def fail(self, at: int, failure: Failure) -> None:
        """Take in a failure; the first item counts, not the first to fail."""
        with self._failing:
            if self._failed_at is None or at < self._failed_at:
                self._failed_at, self._failure = at, failure

    def note(self, tasks: int, size: int) -> None:
        """Count what is over, and wake the calling thread if that is what it waits for."""
        self._done_tasks += tasks
        self._done_bytes += size
        if self._waits_for():
            self._progress.set()


class _Part:
    """The receiver of one batch."""

    __slots__ = ("_call", "_left", "_size", "offset")

    def __init__(self, call: MapCall, offset: int, packed: Packed) -> None:
        self.offset = offset
        self._call = call
        self._left = packed.count
        self._size = packed.size

    @property
    def is_over(self) -> bool:
        """Whether all of its tasks have their outcome."""
        return not self._left

    def succeeded(self, start: int, values: list[Any], profile: ProfileResult) -> None:
        self._call.put(self.offset + start, values)
        self._note(len(values))

    def failed(self, start: int, stop: int, failure: Failure, profile: ProfileResult) -> None:
        self._call.fail(self.offset + start, failure)
        self._note(stop - start)

    def cancelled(self, start: int, stop: int) -> None:
        self._call.fail(self.offset + start, CancelledError)
        self._note(stop - start)

    def _note(self, tasks: int) -> None:
        self._left -= tasks
        self._call.note(tasks, 0 if self._left else self._size)


def chunks(items: Iterable[Any]) -> Iterator[Sequence[Any]]:
    """Return the items in parts that are worth a batch.

    What is no sequence is read as it comes: a part ends when reading it has taken some milliseconds.
    """
    if type(items) in {list, tuple}:
        sequence: Any = items
        return (sequence[at : at + MAX_BATCH_TASKS] for at in range(0, len(sequence), MAX_BATCH_TASKS))
    return _read(iter(items))


def _read(iterator: Iterator[Any]) -> Iterator[list[Any]]:
    size = 1
    while True:
        began = time.perf_counter()
        part = list(islice(iterator, size))
        if not part:
            return
        took = time.perf_counter() - began
        yield part
        if took < _CHUNK_SECONDS / 2:
            size = min(2 * size, MAX_BATCH_TASKS)
        elif took > _CHUNK_SECONDS:
            size = max(1, int(size * _CHUNK_SECONDS / took))


def _never() -> bool:
    return False
