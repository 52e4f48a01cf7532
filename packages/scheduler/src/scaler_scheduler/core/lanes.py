"""One lane for each set of capabilities that tasks ask for: its ready tasks, and the workers that suit them.

A task without a suitable worker waits in its own lane and never blocks another.
"""

from collections.abc import Iterator
from math import inf

from scaler_protocol.messages import Capabilities
from scaler_scheduler.core.hungry import HungryWorkers
from scaler_scheduler.core.ready import FairClock, ReadyQueue
from scaler_scheduler.core.state import Batch, Client, Worker
from scaler_scheduler.policies.allocate import AllocationPolicy

LaneKey = tuple[tuple[str, int], ...]

GRAIN_SECONDS = 0.01
"""So much work goes to a worker at once, where all have as much to do meanwhile."""

_UNUSED_KEPT = 4
"""So many lanes without a batch are kept: making one means asking every worker."""


class Lane:
    """Tasks that ask for the same capabilities."""

    def __init__(self, capabilities: Capabilities, clock: FairClock) -> None:
        self.capabilities = capabilities
        self.ready = ReadyQueue(clock)
        self.hungry = HungryWorkers()
        self.batches = 0
        """Unfinished batches; without any the lane may go, except the one for tasks that ask for nothing."""
        self.unfinished = 0
        """Unfinished tasks of these batches."""
        self.waiting_since: float | None = None
        """Since when tasks have waited here without any worker."""

    def fair_part(self, worker: Worker, task_seconds: float | None) -> int:
        """Return the most tasks that a slice for the least loaded worker may have, so that every worker gets some.

        Where even this one has work, a grain more for it leaves nobody behind; slices of single tasks would cost more.
        """
        share = self.ready.tasks // (2 * (len(self.hungry.workers) or 1)) or 1
        if task_seconds is None or not worker.load_seconds:
            return share
        return max(share, int(min(GRAIN_SECONDS, worker.load_seconds) / task_seconds))


class Lanes:
    """All lanes, and the order in which they are served."""

    def __init__(self, allocate: AllocationPolicy) -> None:
        self._allocate = allocate
        self.clock = FairClock()
        self._lanes: dict[LaneKey, Lane] = {}
        self._unused: dict[LaneKey, Lane] = {}
        self._workers: dict[Worker, list[Lane]] = {}

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    @property
    def ready_tasks(self) -> int:
        """Ready tasks of all lanes."""
        return self.clock.ready_tasks

    def enter(self, capabilities: Capabilities) -> Lane:
        """Return the lane for these capabilities, one more batch in it."""
        requested = self._allocate.requested(capabilities)
        key = _key(requested)
        lane = self._lanes.get(key)
        if key in self._unused:
            del self._unused[key]
        if lane is None:
            lane = self._lanes[key] = Lane(requested, self.clock)
            for worker, lanes in self._workers.items():
                if self._allocate.suits(worker.capabilities, requested):
                    lanes.append(lane)
                    lane.hungry.add(worker)
        lane.batches += 1
        return lane

    def leave(self, batch: Batch) -> None:
        """Take note that a batch has ended."""
        lane = batch.lane
        lane.batches -= 1
        if lane.batches == 0 and lane.capabilities:
            self._unused[_key(lane.capabilities)] = lane
            if len(self._unused) > _UNUSED_KEPT:
                self._drop(next(iter(self._unused)))

    def update(self, worker: Worker) -> None:
        """Take note of a worker that has come or changed."""
        worker.version += 1
        lanes = self._workers.get(worker)
        if lanes is None:
            suited = [
                lane for lane in self._lanes.values() if self._allocate.suits(worker.capabilities, lane.capabilities)
            ]
            self._workers[worker] = suited
            for lane in suited:
                lane.hungry.add(worker)
            return
        for lane in lanes:
            lane.hungry.update(worker)

    def remove(self, worker: Worker) -> None:
        """Take note that a worker is gone."""
        for lane in self._workers.pop(worker, ()):
            lane.hungry.remove(worker)

    def has_ready(self, worker: Worker) -> bool:
        """Whether tasks are ready that the worker may run."""
        return any(lane.ready.tasks for lane in self._workers.get(worker, ()))

    def of(self, worker: Worker) -> list[Lane]:
        """Return the lanes that the worker suits."""
        return self._workers.get(worker, [])

    def idle(self) -> dict[Lane, float]:
        """Return the lanes that have a worker with nothing to do, and nothing ready for it in any lane.

        With each lane, above which priority such workers take tasks: an ordinary one any, a helper those above its
        floor.
        """
        idle: dict[Lane, float] = {}
        for lane in self._lanes.values():
            if self._is_idle(lane.hungry.least_loaded()):
                idle[lane] = -inf
            elif lane.hungry.helpers:
                idle[lane] = min(helper.floor for helper in lane.hungry.helpers)
        return idle

    def forget(self, client: Client) -> None:
        """Drop what is kept of a client that is gone."""
        for lane in self._lanes.values():
            lane.ready.forget(client)

    def next(self) -> tuple[Lane, Batch, Worker] | None:
        """Return the task that is next among those that somebody can run now, and who."""
        best: tuple[tuple[int, float], Lane, Batch, Worker] | None = None
        for lane in self._lanes.values():
            worker = lane.hungry.first() if lane.ready.tasks else None
            first = None if worker is None else lane.ready.first()
            if first is not None and lane.hungry.helpers:  # which take only some priorities
                worker = lane.hungry.first(-first[0][0])
            if worker is not None and first is not None and (best is None or first[0] < best[0]):
                best = (first[0], lane, first[1], worker)
        return None if best is None else best[1:]

    def _is_idle(self, worker: Worker | None) -> bool:
        return worker is not None and not worker.outstanding and not self.has_ready(worker)

    def _drop(self, key: LaneKey) -> None:
        del self._unused[key]
        lane = self._lanes.pop(key)
        for lanes in self._workers.values():  # helpers too, which the lane does not list while they are not hungry
            if lane in lanes:
                lanes.remove(lane)


def _key(capabilities: Capabilities) -> LaneKey:
    return tuple(sorted(capabilities.items())) if capabilities else ()
