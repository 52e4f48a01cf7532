"""What is alike in the parts of the core that decide something by themselves, now or as time passes."""

from typing import Protocol

from scaler_scheduler.core.state import Outbox


class Part(Protocol):
    """A part is asked in every turn while it is concerned, and in no other: most turns concern hardly any.

    What gives it something to look after makes it concerned; it stays so until `settle` finds nothing that is left to
    look after.
    """

    @property
    def is_concerned(self) -> bool:
        """Whether there may be something to decide, in this turn or a later one."""
        ...

    def settle(self, now: float) -> None:
        """Decide."""
        ...

    def next_wakeup(self) -> float | None:
        """Return when `settle` has something to do without an event."""
        ...


def check_unconcerned(part: Part, out: Outbox, now: float) -> None:
    """Raise `AssertionError` if a part is not concerned though there is something for it to decide, or will be."""
    if part.is_concerned:
        return
    decided = len(out)
    part.settle(now)
    name = type(part).__name__
    assert not part.is_concerned, f"{name} was not asked, and has something to look after"
    assert part.next_wakeup() is None, f"{name} would sleep in"
    assert len(out) == decided, f"{name} was not asked, and had something to do"
