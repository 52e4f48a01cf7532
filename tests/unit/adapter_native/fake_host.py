"""A worker host that runs nothing."""

import asyncio
from dataclasses import dataclass


@dataclass
class FakeWorker:
    state: str
    reason: str = ""
    in_order: bool = False


class FakeHost:
    """Workers become ready, and end, in the loop's next round, unless `is_slow`."""

    def __init__(self, on_change=lambda: None):
        self.table = {}
        self.started = []
        self.stopped = []
        self.drained = []
        self.is_slow = False
        self.is_closed = False
        self.failure = None
        self._on_change = on_change

    def start(self, group_id, worker_id, capabilities=None):
        if self.failure is not None:
            raise self.failure
        self.started.append((group_id, worker_id, capabilities))
        self.table[worker_id] = FakeWorker("starting")
        self._soon(worker_id, "ready")

    def stop(self, worker_id, *, kill=False):
        self.stopped.append((worker_id, kill))
        if self.table[worker_id].state != "ended":
            self.become(worker_id, "stopping")
            self._soon(worker_id, "ended", "stopped")

    def workers(self):
        return self.table

    def forget(self, worker_id):
        assert self.table.pop(worker_id).state == "ended"

    async def drain(self, seconds):
        self.drained.append(seconds)
        for worker_id in list(self.table):
            self.stop(worker_id)

    async def close(self):
        self.is_closed = True
        self.table.clear()

    def become(self, worker_id, state, reason="", *, in_order=False):
        self.table[worker_id] = FakeWorker(state, reason, in_order)
        self._on_change()

    def _soon(self, worker_id, state, reason=""):
        if not self.is_slow:
            asyncio.get_running_loop().call_soon(self._later, worker_id, state, reason)

    def _later(self, worker_id, state, reason):
        worker = self.table.get(worker_id)
        if worker is not None and worker.state != "ended" and not (worker.state == "stopping" and state == "ready"):
            self.become(worker_id, state, reason)
