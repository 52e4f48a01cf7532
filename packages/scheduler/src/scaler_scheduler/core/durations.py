"""How long one task of a function takes, None while nothing is known: lately, for slices; on average, for scaling."""

from dataclasses import dataclass

_WEIGHT = 0.3
_MAX_COUNTED = 16
_MOST_SECONDS = 1e9
LEAST_SECONDS = 1e-6
"""What the shortest task costs a worker, call and bookkeeping."""

AVERAGED_TASKS, AVERAGED_SECONDS = 4096, 1.0
"""The average is that of about the last so many tasks, and at least so many seconds of them: a task that was held up
for some milliseconds does not stand for all."""


@dataclass(slots=True)
class _Known:
    lately: float
    seconds: float
    tasks: float


class Durations:
    """Two means a function, in seconds: of the last few results, and of many."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Known] = {}

    def of(self, function_id: bytes) -> float | None:
        """Return the mean duration of a task lately, exponentially weighted; None if unknown."""
        known = self._known.get(function_id)
        return None if known is None else known.lately

    def average_of(self, function_id: bytes) -> tuple[float, float] | None:
        """Return the average duration of a task, and how many seconds that was measured for; None if unknown."""
        known = self._known.get(function_id)
        return None if known is None else (known.seconds / known.tasks, known.seconds)

    def add(self, function_id: bytes, seconds: float, tasks: int) -> None:
        """Take in that `tasks` tasks took `seconds` together."""
        each = min(max(LEAST_SECONDS, seconds / tasks), _MOST_SECONDS)
        known = self._known.get(function_id)
        if known is None:
            self._known[function_id] = _Known(each, each * tasks, tasks)
            return
        weight = 1.0 - (1.0 - _WEIGHT) ** min(tasks, _MAX_COUNTED)
        known.lately += weight * (each - known.lately)
        known.seconds += each * tasks
        known.tasks += tasks
        if known.tasks > AVERAGED_TASKS and known.seconds > AVERAGED_SECONDS:
            kept = max(AVERAGED_TASKS / known.tasks, AVERAGED_SECONDS / known.seconds)
            known.seconds *= kept
            known.tasks *= kept

    def forget(self, function_id: bytes) -> None:
        """Drop a function."""
        self._known.pop(function_id, None)
