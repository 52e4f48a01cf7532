"""The plain IO thread of clients and workers: polls a connection, hands what comes to its owner, sends what it queues.

Work from other threads reaches it through whatever the owner keeps, and one `wake`, which costs next to nothing while
the loop is awake anyway.
"""

import logging
import os
import select
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Protocol

from scaler_runtime.session import SessionEvent
from scaler_runtime.wakeups import earliest

_log = logging.getLogger(__name__)

_LONGEST_SECONDS = 3600.0
"""Who is woken for nothing sleeps on; longer waits than some weeks are no numbers for the system."""


class PeerConnection(Protocol):
    """What a loop pumps: a `Connection` to the scheduler, or another conversation with a server."""

    def filenos(self) -> Sequence[int]:
        """Return the descriptors to watch for reading."""
        ...

    def pump(self, now: float) -> Sequence[SessionEvent]:
        """Read everything that waits and return what it means. What comes later, a descriptor tells."""
        ...

    def flush(self, now: float) -> bool:
        """Hand over what is queued. Returns whether input waits that no descriptor tells of: then `pump` again."""
        ...

    def next_wakeup(self, now: float) -> float | None:
        """Return when `flush` is wanted at the latest."""
        ...


class PeerOwner(Protocol):
    """What a loop serves. All calls come from the loop's thread."""

    def on_event(self, event: SessionEvent, now: float) -> None:
        """Take in what the connection brought."""
        ...

    def on_wake(self, now: float) -> None:
        """Take in what other threads left, and what time has made due; called before every flush."""
        ...

    def next_wakeup(self) -> float | None:
        """Return when `on_wake` is wanted at the latest, None for never."""
        ...


class PeerLoop:
    """Call `run` in a thread of its own; `stop` ends it, from any thread."""

    def __init__(
        self, connection: PeerConnection, owner: PeerOwner, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connection = connection
        self._owner = owner
        self._clock = clock
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # closed with the loop itself, so that a late `wake` needs no lock to find out whether the number is still ours
        weakref.finalize(self, os.close, self._wake_fd).atexit = False
        self._poll = select.poll()
        self._awake = False
        self._stopping = False

    def wake(self) -> None:
        """Make the loop call `on_wake` soon. Takes no lock: a finalizer may call it."""
        if not self._awake:
            self._awake = True
            os.eventfd_write(self._wake_fd, 1)

    def watch(self, descriptor: int) -> None:
        """Make the loop call `on_wake` whenever a descriptor is readable. In the loop's thread, or before `run`."""
        self._poll.register(descriptor, select.POLLIN)

    def stop(self) -> None:
        """End `run` after one more round: what was queued before is still sent."""
        self._stopping = True
        self._awake = False
        self.wake()

    def run(self) -> None:
        """Serve until stopped. An exception in the owner is logged and the loop goes on."""
        for descriptor in (*self._connection.filenos(), self._wake_fd):
            self.watch(descriptor)
        has_input = True
        while True:
            stopping = self._stopping
            self._awake = False
            self._round(has_input=has_input)
            if stopping:
                return
            has_input = False
            for descriptor, _ in self._poll.poll(0 if self._awake else self._patience_ms()):
                if descriptor == self._wake_fd:
                    os.eventfd_read(self._wake_fd)
                else:
                    has_input = True

    def _round(self, *, has_input: bool) -> None:
        while True:
            now = self._clock()
            for event in self._connection.pump(now) if has_input else ():
                try:
                    self._owner.on_event(event, now)
                except Exception:  # noqa: BLE001 - one event must not cost the others
                    _log.exception("dropped an event that could not be handled: %.500r", event)
            try:
                self._owner.on_wake(now)
            except Exception:  # noqa: BLE001 - the loop goes on whatever its owner does
                _log.exception("what other threads left could not be handled")
            has_input = self._connection.flush(now)
            if not has_input:
                return

    def _patience_ms(self) -> float | None:
        now = self._clock()
        due = earliest(self._owner.next_wakeup(), self._connection.next_wakeup(now))
        return None if due is None else min(max(0.0, due - now), _LONGEST_SECONDS) * 1000
