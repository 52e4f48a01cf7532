"""`scaling=backlog`: as many workers as finish what is unfinished within `target` seconds, by measured durations.

A task of unknown duration counts as `target`, so that it gets a worker of its own until more is known. Workers are too
many only when half of the target would not keep them busy: a backlog that goes up and down keeps its workers.
"""

from math import ceil

from scaler_scheduler.policies.snapshot import Decision, Snapshot, resize

_LEAST_SHARE = 0.5
"""Of the target: workers that would be through sooner are too many."""


def decide(target_seconds: float, snapshot: Snapshot) -> Decision:
    """Grow or shrink all adapters together; never more workers than tasks, at least one while there is a task."""
    current = snapshot.workers
    backlog_seconds = snapshot.known_seconds + snapshot.unknown_tasks * target_seconds
    fewest = max(1, ceil(backlog_seconds / target_seconds))
    most = min(snapshot.tasks, max(1, ceil(backlog_seconds / (_LEAST_SHARE * target_seconds))))
    wanted = min(max(current, fewest), most)
    reason = f"{snapshot.tasks} tasks of {backlog_seconds:.3g} s, {current} workers, {wanted} wanted"
    return resize(snapshot, wanted, reason)
