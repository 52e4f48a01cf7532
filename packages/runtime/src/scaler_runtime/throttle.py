"""A limit on how often the same thing is logged."""

from collections.abc import Hashable

_MAX_KEYS = 1000


class Throttle:
    """Lets each key through once every `seconds`; the table of keys is bounded."""

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._next: dict[Hashable, float] = {}

    def allows(self, key: Hashable, now: float) -> bool:
        """Whether the key may pass now."""
        if now < self._next.get(key, 0.0):
            return False
        if len(self._next) >= _MAX_KEYS:
            self._next = {known: at for known, at in self._next.items() if at > now}
            if len(self._next) >= _MAX_KEYS:
                return False
        self._next[key] = now + self._seconds
        return True
