"""Whose task is next: priority first, then the client that has used least, then the order of arrival."""

import heapq
from dataclasses import dataclass, field

from scaler_scheduler.core.state import Batch, Client

Rank = tuple[int, float]
"""Negated priority, and what the client has used: the smallest is next."""


@dataclass(slots=True)
class FairClock:
    """What all queues have in common."""

    used_seconds: float = 0.0
    """What the client served last has used: where a client that was idle joins."""
    ready_tasks: int = 0
    """Of all queues."""


@dataclass(slots=True)
class _Level:
    """The batches of one priority: for each client a heap by order of arrival."""

    queues: dict[Client, list[tuple[int, Batch]]] = field(default_factory=dict[Client, list[tuple[int, Batch]]])


class ReadyQueue:
    """The batches that have ready tasks. `tasks` counts these."""

    def __init__(self, clock: FairClock) -> None:
        self._clock = clock
        self._levels: dict[int, _Level] = {}
        self.tasks = 0

    def add(self, batch: Batch, start: int, stop: int) -> None:
        """Make tasks [start, stop) of a batch ready."""
        if start == stop:
            return
        if not batch.client.ready_tasks:  # it was idle: what it did not use then is not made up for
            batch.client.used_seconds = max(batch.client.used_seconds, self._clock.used_seconds)
        batch.ready.add(start, stop)
        self._count(batch.client, stop - start)
        if batch.queued:
            return
        batch.queued = True
        level = self._levels.get(batch.submitted.priority)
        if level is None:
            level = self._levels[batch.submitted.priority] = _Level()
        heapq.heappush(level.queues.setdefault(batch.client, []), (batch.order, batch))

    def first(self) -> tuple[Rank, Batch] | None:
        """Return the batch whose first ready task is next, None if nothing is ready that may be sent out now."""
        for priority in sorted(self._levels, reverse=True):
            queues = self._levels[priority].queues
            while queues:
                client = min(queues, key=_share)
                if client.is_paused:
                    break
                batch = _front(queues[client])
                if batch is not None:
                    return (-priority, client.used_seconds), batch
                del queues[client]
            if not queues:
                del self._levels[priority]
        return None

    def above(self, floor: float, most: int) -> int:
        """Return how many tasks of higher priority than `floor` may be sent out now, up to `most`."""
        found = 0
        for priority in sorted(self._levels, reverse=True):
            if priority <= floor:
                break
            for client, queue in self._levels[priority].queues.items():
                for _, batch in queue if not client.is_paused else ():
                    found += batch.ready.size
                    if found >= most:
                        return most
        return found

    def take(self, batch: Batch, count: int, seconds: float) -> None:
        """Remove the first `count` tasks of the batch; they are estimated to take `seconds`."""
        self._clock.used_seconds = batch.client.used_seconds
        batch.ready.take_first(count)
        batch.client.used_seconds += seconds
        self._count(batch.client, -count)
        if not batch.ready.size:
            _front(self._levels[batch.submitted.priority].queues[batch.client])

    def remove(self, batch: Batch, start: int, stop: int) -> list[tuple[int, int]]:
        """Remove what is ready of tasks [start, stop); return the intervals removed."""
        removed = batch.ready.remove(start, stop)
        self._count(batch.client, -sum(high - low for low, high in removed))
        return removed

    def _count(self, client: Client, tasks: int) -> None:
        client.ready_tasks += tasks
        self.tasks += tasks
        self._clock.ready_tasks += tasks

    def clients(self) -> list[Client]:
        """Return the clients that have tasks here."""
        return list(
            {client: None for level in self._levels.values() for client, queue in level.queues.items() if queue}
        )

    def forget(self, client: Client) -> None:
        """Drop what is kept of a client that is gone."""
        for level in self._levels.values():
            level.queues.pop(client, None)


def _front(queue: list[tuple[int, Batch]]) -> Batch | None:
    while queue:
        batch = queue[0][1]
        if batch.ready.size:
            return batch
        batch.queued = False
        heapq.heappop(queue)
    return None


def _share(client: Client) -> tuple[bool, float]:
    return client.is_paused, client.used_seconds
