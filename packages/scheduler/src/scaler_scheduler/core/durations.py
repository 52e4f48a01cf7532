"""How long one task of a function takes: an exponentially weighted mean, None while nothing is known."""

_WEIGHT = 0.3
_MAX_COUNTED = 16
_MOST_SECONDS = 1e9
LEAST_SECONDS = 1e-6
"""What the shortest task costs a worker, call and bookkeeping."""


class Durations:
    """One running mean a function, in seconds."""

    def __init__(self) -> None:
        self._mean: dict[bytes, float] = {}

    def of(self, function_id: bytes) -> float | None:
        """Return the mean duration of one task, None if unknown."""
        return self._mean.get(function_id)

    def add(self, function_id: bytes, seconds: float, tasks: int) -> None:
        """Take in that `tasks` tasks took `seconds` together."""
        each = min(max(LEAST_SECONDS, seconds / tasks), _MOST_SECONDS)
        mean = self._mean.get(function_id)
        if mean is None:
            self._mean[function_id] = each
        else:
            weight = 1.0 - (1.0 - _WEIGHT) ** min(tasks, _MAX_COUNTED)
            self._mean[function_id] = mean + weight * (each - mean)

    def forget(self, function_id: bytes) -> None:
        """Drop a function."""
        self._mean.pop(function_id, None)
