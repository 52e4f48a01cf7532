"""A limit on how often the same thing is logged."""

from collections.abc import Hashable

_MAX_KEYS = 1000


class Throttle:
    """Lets each key through once every `seconds`; at most 1000 keys in that time, so that strangers can't fill it."""

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._next: dict[Hashable, float] = {}  # in the order of time, as long as the clock doesn't go back

    def allows(self, key: Hashable, now: float) -> bool:
        """Whether the key may pass now."""
        if now < self._next.get(key, now):
            return False
        self._forget_old(now)
        if len(self._next) >= _MAX_KEYS:
            return False
        self._next.pop(key, None)
        self._next[key] = now + self._seconds
        return True

    def _forget_old(self, now: float) -> None:
        while self._next and next(iter(self._next.values())) <= now:
            del self._next[next(iter(self._next))]
