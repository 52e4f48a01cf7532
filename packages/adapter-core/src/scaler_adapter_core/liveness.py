"""How long the scheduler has not been heard, counting only the time in which this process was awake.

A process that was stopped and goes on has heard nothing for long, which says nothing about its scheduler.
"""


class Silence:
    """Ask `is_over` about every `interval_seconds`; what lies between two questions counts for twice that at most."""

    def __init__(self, limit_seconds: float, interval_seconds: float, now: float) -> None:
        self._limit_seconds = limit_seconds
        self._most_seconds = 2 * interval_seconds
        self._asked_at = now
        self._heard_at: float | None = None
        self._silent_seconds = 0.0

    def is_over(self, heard_at: float | None, now: float) -> bool:
        """Whether the limit is reached; `heard_at` is when the scheduler was heard last."""
        passed, self._asked_at = now - self._asked_at, now
        if heard_at != self._heard_at:
            self._heard_at, self._silent_seconds = heard_at, 0.0
        else:
            self._silent_seconds += min(passed, self._most_seconds)
        return self._silent_seconds >= self._limit_seconds
