"""`scaling=vanilla`: keep the number of unfinished tasks for each worker between two bounds.

The bounds count tasks, not seconds. For long tasks, `upper=1` gives each its own worker.
"""

from dataclasses import dataclass
from math import ceil, floor

from scaler_scheduler.policies.snapshot import Decision, Snapshot, resize


@dataclass(frozen=True, slots=True)
class Bounds:
    """Most (`upper`) and fewest (`lower`) tasks for each worker."""

    upper: float
    lower: float

    def workers(self, tasks: int, current: int) -> int:
        """Return the number of workers wanted: as many as now where that is between the bounds; 0 without tasks."""
        if tasks == 0:
            return 0
        fewest = max(1, ceil(tasks / self.upper))
        most = max(1, floor(tasks / self.lower))
        return min(max(current, fewest), most)


def decide(bounds: Bounds, snapshot: Snapshot) -> Decision:
    """Grow or shrink all adapters together to what the bounds want."""
    tasks, current = snapshot.tasks, snapshot.workers
    wanted = bounds.workers(tasks, current)
    reason = f"{tasks} tasks, {current} workers, {wanted} wanted"
    return resize(snapshot, wanted, reason)
