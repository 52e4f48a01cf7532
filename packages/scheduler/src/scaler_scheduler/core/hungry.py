"""Which worker gets the next tasks: the one with the fewest, of those that should hold more than they do.

Of equal ones that with the least seconds of work.
"""

import heapq
from math import inf

from scaler_scheduler.core.state import Worker

AHEAD_SECONDS = 0.05
"""How much work a worker is kept supplied with."""

AHEAD_TASKS = 2
"""The least it is kept supplied with: the running task and one more."""

_STALE_ENTRIES = 64


class HungryWorkers:
    """A heap by load, as above, of the workers that were added; an entry is stale when its worker has changed since."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, float, int, int, Worker]] = []
        self._entries = 0  # made so far
        self._clear_after = _STALE_ENTRIES
        self.workers: dict[Worker, None] = {}
        self.helpers: dict[Worker, None] = {}
        """Hungry ones, which are in no heap: each takes only tasks above its floor."""

    def add(self, worker: Worker) -> None:
        """Let a worker take part."""
        if not worker.lender:
            self.workers[worker] = None
        self.update(worker)

    def remove(self, worker: Worker) -> None:
        """Let a worker go."""
        self.workers.pop(worker, None)
        self.helpers.pop(worker, None)

    def update(self, worker: Worker) -> None:
        """Take note of a change of the worker's load or state; its version has been raised."""
        if worker.lender:
            if is_hungry(worker):
                self.helpers[worker] = None
            else:
                self.helpers.pop(worker, None)
        elif is_hungry(worker):
            self._entries += 1  # of equal workers the one that has waited longest
            entry = (worker.outstanding, worker.load_seconds, self._entries, worker.version, worker)
            heapq.heappush(self._heap, entry)
            if self._entries > self._clear_after:
                self._clear()

    def first(self, priority: float = inf) -> Worker | None:
        """Return who gets a task of this priority: the least loaded worker, but before a busy one a helper.

        Of several helpers the one with the highest floor: the others may take what it may not. None for nobody.
        """
        worker = self.least_loaded()
        if self.helpers and (worker is None or worker.outstanding):
            able = (helper for helper in self.helpers if helper.floor < priority)
            return max(able, key=_floor, default=worker)
        return worker

    def least_loaded(self) -> Worker | None:
        """Return the least loaded hungry worker, helpers aside; None if there is none."""
        while self._heap:
            if self._is_current(self._heap[0]):
                return self._heap[0][-1]
            heapq.heappop(self._heap)
        return None

    def set_aside(self) -> None:
        """Remove the least loaded worker, which `first` has returned, until its next `update`."""
        heapq.heappop(self._heap)

    def _clear(self) -> None:
        """Remove stale entries. From time to time, for each new one makes another stale."""
        self._heap = [entry for entry in self._heap if self._is_current(entry)]
        heapq.heapify(self._heap)
        self._clear_after = self._entries + 4 * len(self.workers) + _STALE_ENTRIES

    def _is_current(self, entry: tuple[int, float, int, int, Worker]) -> bool:
        *_, version, worker = entry
        return version == worker.version and worker in self.workers and is_hungry(worker)


def is_hungry(worker: Worker) -> bool:
    """Whether the worker should be given more."""
    if worker.draining or worker.blocked or worker.stopped_since is not None:
        return False
    if worker.lender or worker.clients:  # what were queued there might have to be taken back at once
        return not worker.outstanding and worker.floor < inf
    return worker.load_seconds < AHEAD_SECONDS or worker.outstanding < AHEAD_TASKS


def room(worker: Worker, task_seconds: float | None) -> int:
    """Return how many more tasks of this duration the worker should be given.

    One at a time while the duration is unknown; else AHEAD_SECONDS of work, at least one beyond the running task.
    More than the queue size only where they fit into AHEAD_SECONDS.
    """
    places = worker.queue_size - worker.outstanding
    least = 1 if worker.outstanding < AHEAD_TASKS and places > 0 else 0
    if task_seconds is None:
        return least
    return max(least, int((AHEAD_SECONDS - worker.load_seconds) / task_seconds))


def _floor(helper: Worker) -> float:
    return helper.floor
