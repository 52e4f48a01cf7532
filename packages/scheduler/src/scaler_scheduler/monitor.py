"""The feed for monitors: a report every second, on the scheduler's loop. While nobody listens nothing is done."""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from scaler_protocol import codec
from scaler_protocol.errors import ProtocolError
from scaler_runtime.server import Server
from scaler_runtime.throttle import Throttle
from scaler_runtime.transport import PubSocket
from scaler_scheduler.core.report import ProcessFigures, make_report
from scaler_scheduler.core.state import State
from scaler_scheduler.storage_line import StorageLine

if TYPE_CHECKING:
    import psutil

PERIOD_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Monitor:
    """Publishes from `start` to `close`, which must be called in the loop's thread."""

    def __init__(
        self,
        socket: PubSocket,
        state: State,
        server: Server,
        storage: StorageLine,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take over a bound socket."""
        self._socket = socket
        self._state = state
        self._server = server
        self._storage = storage
        self._clock = clock
        self._throttle = Throttle()
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Wait for somebody to listen."""
        for descriptor in self._socket.filenos():
            asyncio.get_running_loop().add_reader(descriptor, self._on_input)
        self._on_input()

    def close(self) -> None:
        """Stop publishing and close the socket."""
        for descriptor in self._socket.filenos():
            asyncio.get_running_loop().remove_reader(descriptor)
        if self._watcher is not None:
            self._watcher.cancel()
        self._pause()
        self._socket.close()

    def _on_input(self) -> None:
        changes = self._socket.subscription_changes()
        if changes and not changes[-1]:
            self._pause()
        elif changes and self._timer is None:
            self._publish()
        if self._socket.has_input():
            asyncio.get_running_loop().call_soon(self._on_input)
        if self._watcher is None:
            self._watch()

    def _watch(self) -> None:
        """Look at the connections again and again, as long as there is one."""
        self._watcher = None
        now = self._clock()
        for line in self._socket.watch(now):
            if self._throttle.allows("gate", now):
                _log.warning("monitors: %s", line)
        due = self._socket.watch_at
        if due is not None:
            self._watcher = asyncio.get_running_loop().call_later(max(0.0, due - now), self._watch)

    def _publish(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(PERIOD_SECONDS, self._publish)
        now = self._clock()
        self._storage.ask()
        try:
            self._socket.send(codec.encode_monitor(make_report(self._state, self._figures(), now)))
        except ProtocolError as error:  # a figure that a host made up
            if self._throttle.allows("report", now):
                _log.warning("monitors miss a report: %s", error)
        if self._socket.has_input():
            loop.call_soon(self._on_input)

    def _pause(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @cached_property
    def _process(self) -> "psutil.Process":
        import psutil  # not before somebody listens: a scheduler is to start fast

        process = psutil.Process()
        process.cpu_percent()  # the first call begins to measure
        return process

    def _figures(self) -> ProcessFigures:
        import psutil

        return ProcessFigures(
            cpu=self._process.cpu_percent(),
            rss=self._process.memory_info().rss,
            free_memory=psutil.virtual_memory().available,
            dropped=self._server.dropped,
            objects=self._storage.objects,
            object_bytes=self._storage.size,
            sent=self._server.sent,
            received=self._server.received,
        )
