"""Whose task is next: priority first, then the client that has used least, then the order of arrival."""

import heapq

from scaler_scheduler.core.state import Batch, Client, State

_Queue = list[tuple[int, Batch]]  # a heap by order of arrival


class ReadyQueue:
    """The batches that have ready tasks."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._levels: dict[int, dict[Client, _Queue]] = {}
        self._clock = 0.0  # used_seconds of the client served last: where a client that was idle joins

    def add(self, batch: Batch, start: int, stop: int) -> None:
        """Make tasks [start, stop) of a batch ready."""
        batch.ready.add(start, stop)
        batch.client.ready_tasks += stop - start
        self._state.ready_tasks += stop - start
        if not batch.queued and batch.ready:
            batch.queued = True
            queues = self._levels.setdefault(batch.submitted.priority, {})
            if batch.client not in queues:
                queues[batch.client] = []
                batch.client.used_seconds = max(batch.client.used_seconds, self._clock)
            heapq.heappush(queues[batch.client], (batch.order, batch))

    def first(self) -> Batch | None:
        """Return the batch whose first ready task is next, None if nothing is ready that may be sent out now."""
        for priority in sorted(self._levels, reverse=True):
            queues = self._levels[priority]
            while queues:
                client = min(queues, key=_share)
                if client.congested:
                    break
                batch = self._front(queues[client])
                if batch is not None:
                    self._clock = client.used_seconds
                    return batch
                del queues[client]
            if not queues:
                del self._levels[priority]
        return None

    def take(self, batch: Batch, count: int, seconds: float) -> None:
        """Remove the first `count` tasks of the batch; they are estimated to take `seconds`."""
        batch.ready.take_first(count)
        batch.client.ready_tasks -= count
        batch.client.used_seconds += seconds
        self._state.ready_tasks -= count

    def drop(self, batch: Batch) -> None:
        """Remove all ready tasks of the batch."""
        batch.client.ready_tasks -= batch.ready.size
        self._state.ready_tasks -= batch.ready.size
        batch.ready.clear()

    def _front(self, queue: _Queue) -> Batch | None:
        while queue:
            batch = queue[0][1]
            if batch.ready:
                return batch
            batch.queued = False
            heapq.heappop(queue)
        return None


def _share(client: Client) -> tuple[bool, float]:
    return client.congested, client.used_seconds
