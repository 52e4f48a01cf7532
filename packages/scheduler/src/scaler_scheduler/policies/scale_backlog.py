"""`scaling=backlog`: as many workers as finish what is unfinished within `target` seconds, by measured durations.

A task of unknown duration counts as `target`, so that it gets a worker of its own until more is known.
"""

from math import ceil

from scaler_scheduler.policies.snapshot import Decision, Snapshot, resize


def decide(target_seconds: float, snapshot: Snapshot) -> Decision:
    """Grow or shrink all adapters together; never more workers than tasks, at least one while there is a task."""
    current = snapshot.workers
    backlog_seconds = snapshot.known_seconds + snapshot.unknown_tasks * target_seconds
    wanted = min(snapshot.tasks, max(1, ceil(backlog_seconds / target_seconds)))
    reason = f"{snapshot.tasks} tasks of {backlog_seconds:.3g} s, {current} workers, {wanted} wanted"
    return resize(snapshot, wanted, reason)
