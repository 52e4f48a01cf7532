"""Pauses after failures, a row for each cause: they double, and after repeated failures to start the breaker opens.

After most causes one group is tried before the others follow. No clock of its own.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from scaler_adapter_core.provider import LaunchResult

FIRST_SECONDS: Final = 0.5
MOST_SECONDS: Final = 60.0
BREAKER_FAILURES: Final = 5
"""So many failures to start in a row open the breaker: then one group is tried every MOST_SECONDS."""
STABLE_SECONDS: Final = 60.0
"""A group that was up for so long did not end because of its start."""


def pause_after(failures: int) -> float:
    """Return how many seconds to wait after so many failures in a row, at least one."""
    doublings = min(failures - 1, 10)  # by then it is the longest, and no number is too large
    return min(MOST_SECONDS, FIRST_SECONDS * 2.0**doublings)


class Cause(StrEnum):
    """Why groups do not come up, or do not stay."""

    NO_CAPACITY = "the engine has no capacity"
    QUOTA = "a quota is reached"
    UNAVAILABLE = "the engine is not available"
    UNKNOWN = "the outcome of a launch was unknown"
    INVALID = "the engine refuses the group"
    START = "the start failed"
    ENDED = "groups ended unasked"


CAUSE_OF_RESULT = {
    LaunchResult.NO_CAPACITY: Cause.NO_CAPACITY,
    LaunchResult.QUOTA: Cause.QUOTA,
    LaunchResult.UNAVAILABLE: Cause.UNAVAILABLE,
    LaunchResult.UNKNOWN: Cause.UNKNOWN,
    LaunchResult.INVALID: Cause.INVALID,
}
_OF_LAUNCHES = frozenset(CAUSE_OF_RESULT.values())
_OF_STARTS = frozenset({Cause.START, Cause.INVALID})


@dataclass(slots=True)
class Pause:
    """The row of failures of one cause."""

    cause: Cause
    failures: int
    failed_at: float
    until: float
    reason: str

    @property
    def is_broken(self) -> bool:
        """Whether the breaker is open."""
        return self.cause in _OF_STARTS and self.failures >= BREAKER_FAILURES

    @property
    def tries_one(self) -> bool:
        """Whether one group goes first after the pause."""
        return self.cause is not Cause.ENDED

    @property
    def text(self) -> str:
        """What is said of it; the same as long as nothing changes."""
        times = f" ({self.failures} times in a row)" if self.failures > 1 else ""
        seconds = self.until - self.failed_at
        return f"{self.cause}{times}, next attempt after {seconds:.3g} s" + (f": {self.reason}" if self.reason else "")


class Backoff:
    """All pauses of an adapter."""

    def __init__(self) -> None:
        self._pauses: dict[Cause, Pause] = {}

    def failed(
        self, cause: Cause, reason: str, now: float, *, launched_at: float, retry_after_seconds: float | None = None
    ) -> Pause:
        """Count a failure; those of groups launched before the last one counted belong to it."""
        pause = self._pauses.get(cause)
        if pause is None or (cause is Cause.ENDED and now - pause.failed_at > STABLE_SECONDS):
            pause = self._pauses[cause] = Pause(cause, 0, -1.0, now, reason)
        if pause.failures == 0 or launched_at > pause.failed_at:
            pause.failures += 1
            pause.failed_at = now
            pause.until = now + (MOST_SECONDS if pause.is_broken else pause_after(pause.failures))
        pause.reason = reason or pause.reason
        if retry_after_seconds is not None:
            pause.until = max(pause.until, now + retry_after_seconds)
        return pause

    def on_accepted(self) -> None:
        """Forget what kept launches from being accepted."""
        for cause in _OF_LAUNCHES:
            self._pauses.pop(cause, None)

    def on_up(self, launched_at: float) -> bool:
        """Forget failures to start that are older than a group that came up. Returns whether there were any."""
        pause = self._pauses.get(Cause.START)
        if pause is None or launched_at <= pause.failed_at:
            return False
        del self._pauses[Cause.START]
        return True

    @property
    def longest(self) -> Pause | None:
        """The pause that ends last."""
        return max(self._pauses.values(), key=lambda pause: pause.until, default=None)

    @property
    def trying(self) -> Pause | None:
        """The last failure after which one group goes first, None if all may."""
        pauses = (pause for pause in self._pauses.values() if pause.tries_one)
        return max(pauses, key=lambda pause: pause.failed_at, default=None)
