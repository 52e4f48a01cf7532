"""A worker as its host keeps it: an id, and one current process."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from scaler_protocol.messages import Capabilities, TaskOutput
from scaler_worker.leftovers import Leftovers
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
    in_order: bool = False
    """Of one that has ended: it did as it was told, by its host or by a scheduler that ends."""


@dataclass(slots=True, eq=False)
class Hosted:
    """A worker and its current process."""

    worker_id: str
    group_id: str
    capabilities: Capabilities
    incarnation: int
    slot: int
    record: Record
    lender: str = ""
    """Of a helper: the worker whose slot it uses."""
    suspended: bool = False
    """Whether its process is stopped because its slot is lent."""
    state: str = STARTING
    reason: str = ""
    pid: int | None = None
    ready_at: float | None = None
    in_order: bool = False
    """See `WorkerStatus`."""
    asked: str | None = None
    """Why the process is to end."""
    asked_for: Running | None = None
    """The task on whose account."""
    failure: str = ""
    stderr: bytes = b""
    """The last that its process wrote to its standard error, once that has ended."""
    leftovers: Leftovers | None = None
    """Of a process that streams its tasks' output."""
    kill_timer: asyncio.TimerHandle | None = None
    seen: Running | None = None
    """What ran when it was looked at last, for the task timeout."""
    seen_at: float = 0.0
    suspended_seconds: float = 0.0
    """For how long since then it was suspended."""

    @property
    def key(self) -> str:
        """The name of its process at the zygote."""
        return f"{self.worker_id} {self.incarnation}"

    def stream(self, client_id: bytes, number: int, descriptors: Sequence[int]) -> None:
        """Keep what its process shares of the streams of a client; those of the client before it are let go."""
        if self.leftovers is not None:
            self.leftovers.close()
        self.leftovers = Leftovers(client_id, number, descriptors)

    def last_output(self) -> list[TaskOutput]:
        """Return what its dead process may not have sent, and add the end of it to `stderr`."""
        if self.leftovers is None:
            return []
        messages, tail = self.leftovers.take(self.worker_id, self.incarnation)
        self.leftovers.close()
        self.leftovers = None
        self.stderr += tail or b""
        return messages

    @property
    def status(self) -> WorkerStatus:
        """What others may know."""
        return WorkerStatus(
            self.worker_id, self.group_id, self.state, self.reason, self.pid, self.incarnation, self.in_order
        )

    def seconds_running(self, now: float, suspended_seconds: float = 0.0) -> float:
        """Return for how long the task has run that runs now: exactly, or since it was seen first.

        `suspended_seconds`: for how long it was suspended since the last call, which does not count.
        """
        running = self.record.running()
        if running != self.seen:
            self.seen, self.seen_at, self.suspended_seconds = running, now, 0.0
        else:
            self.suspended_seconds += suspended_seconds
        if running is None:
            return 0.0
        return now - (self.seen_at if running.started is None else running.started) - self.suspended_seconds
