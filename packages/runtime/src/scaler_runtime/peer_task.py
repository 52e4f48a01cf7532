"""A connection on an asyncio loop, for programs that have other things to watch: hosts and adapters."""

import asyncio
import logging
import time
from collections.abc import Callable

from scaler_protocol.messages import Message
from scaler_runtime.connection import Connection
from scaler_runtime.session import SessionEvent

_log = logging.getLogger(__name__)


class PeerTask:
    """Watches the connection's descriptors; `on_event` gets what comes, `send` queues and hands over at once."""

    def __init__(
        self,
        connection: Connection,
        on_event: Callable[[SessionEvent, float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connection = connection
        self._on_event = on_event
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._turning = False
        for descriptor in connection.filenos():
            self._loop.add_reader(descriptor, self._turn)
        # Not at once: an event that came already would reach an owner that has no PeerTask yet.
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(0.0, self._turn)

    def send(self, message: Message) -> None:
        """Send a message in order; before the first registration it is dropped."""
        self.connection.send(message)
        if not self._turning:
            self._turn()

    def close(self, reason: str = "", linger_seconds: float = 0.0) -> None:
        """Stop watching and close; with a reason the scheduler is told that this peer leaves for good."""
        for descriptor in self.connection.filenos():
            self._loop.remove_reader(descriptor)
        if self._timer is not None:
            self._timer.cancel()
        self.connection.close(reason, linger_seconds)

    def _turn(self) -> None:
        self._turning = True
        try:
            self._exchange()
        finally:
            self._turning = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.connection.next_wakeup(self._clock())
        if due is not None:
            self._timer = self._loop.call_later(max(0.0, due - self._clock()), self._turn)

    def _exchange(self) -> None:
        more = True
        while more:
            now = self._clock()
            for event in self.connection.pump(now):
                try:
                    self._on_event(event, now)
                except Exception:  # noqa: BLE001 - what one message does must not stop the others
                    _log.exception("dropped an event that could not be handled: %.500r", event)
            more = self.connection.flush(now)
