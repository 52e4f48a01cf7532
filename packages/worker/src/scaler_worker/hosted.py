"""A worker as its host keeps it: an id, and one current process."""

import asyncio
from dataclasses import dataclass

from scaler_protocol.messages import Capabilities
from scaler_worker.record import Record, Running

STARTING = "starting"
READY = "ready"
"""Registered with the scheduler, and preloaded."""
STOPPED = "stopped"
"""By SIGSTOP."""
STOPPING = "stopping"
ENDED = "ended"


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker as others see it."""

    worker_id: str
    group_id: str
    state: str
    reason: str
    pid: int | None
    incarnation: int


@dataclass(slots=True, eq=False)
class Hosted:
    """A worker and its current process."""

    worker_id: str
    group_id: str
    capabilities: Capabilities
    incarnation: int
    slot: int
    record: Record
    state: str = STARTING
    reason: str = ""
    pid: int | None = None
    ready_at: float | None = None
    asked: str | None = None
    """Why the process is to end."""
    asked_for: Running | None = None
    """The task on whose account."""
    failure: str = ""
    kill_timer: asyncio.TimerHandle | None = None
    seen: Running | None = None
    """What ran when it was looked at last, for the task timeout."""
    seen_at: float = 0.0

    @property
    def key(self) -> str:
        """The name of its process at the zygote."""
        return f"{self.worker_id} {self.incarnation}"

    @property
    def status(self) -> WorkerStatus:
        """What others may know."""
        return WorkerStatus(self.worker_id, self.group_id, self.state, self.reason, self.pid, self.incarnation)

    def seconds_running(self, now: float) -> float:
        """Return for how long the task has run that runs now: exactly, or since it was seen first."""
        running = self.record.running()
        if running != self.seen:
            self.seen, self.seen_at = running, now
        if running is None:
            return 0.0
        return now - (self.seen_at if running.started is None else running.started)
