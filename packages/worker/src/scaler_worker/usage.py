"""What a host and its workers use of their machine, for monitors. Looks only at the processes it is asked about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

LEAST_SECONDS = 1.0
"""Reports that follow each other faster repeat the last figures: shorter measurements say little and cost as much."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Percent of one core since the measurement before, and resident bytes."""

    cpu: float = 0.0
    rss: int = 0


@dataclass(frozen=True, slots=True)
class HostUsage:
    """Of the host's own process, of each worker's processes together, and what memory the machine has left."""

    host: Usage = Usage()
    workers: Mapping[str, Usage] = field(default_factory=dict[str, Usage])
    free_memory: int = 0

    def of(self, worker_id: str) -> Usage:
        """Return a worker's figures, zero where it was not measured."""
        return self.workers.get(worker_id, _NOTHING)


class UsageMeter:
    """Remembers the processes of the last measurement: CPU time is a difference."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}
        self._last = HostUsage()
        self._measured_at: float | None = None

    @cached_property
    def _own(self) -> "psutil.Process":
        import psutil  # with the first measurement, not before: workers are to start fast

        return psutil.Process()

    def measure(self, pids: Mapping[str, Sequence[int]], now: float) -> HostUsage:
        """Measure the processes of workers, by worker id, unless that was done less than a second ago."""
        if self._measured_at is not None and now - self._measured_at < LEAST_SECONDS:
            return self._last
        import psutil

        self._measured_at = now
        before, self._processes = self._processes, {}
        workers = {worker_id: self._sum(numbers, before) for worker_id, numbers in pids.items()}
        self._last = HostUsage(_usage(self._own), workers, psutil.virtual_memory().available)
        return self._last

    def _sum(self, pids: Sequence[int], before: "Mapping[int, psutil.Process]") -> Usage:
        import psutil

        cpu, rss = 0.0, 0
        for pid in pids:
            try:
                process = self._processes[pid] = before.get(pid) or psutil.Process(pid)
                usage = _usage(process)
            except psutil.Error:  # it has just ended, or its number belongs to somebody else by now
                self._processes.pop(pid, None)
                continue
            cpu += usage.cpu
            rss += usage.rss
        return Usage(cpu, rss)


def _usage(process: "psutil.Process") -> Usage:
    return Usage(process.cpu_percent(), process.memory_info().rss)


_NOTHING = Usage()
