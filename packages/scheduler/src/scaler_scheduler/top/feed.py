"""The reports of one monitor feed as they come; what is not a report is dropped, and silence has an end."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import zmq

from scaler_protocol import codec
from scaler_protocol.addresses import Address
from scaler_protocol.errors import ProtocolError
from scaler_protocol.monitor_messages import MonitorReport
from scaler_runtime.program import ProgramError
from scaler_runtime.transport import SubSocket


class Feed:
    """A subscription. `ProgramError` once no report has come for `timeout_seconds`."""

    def __init__(self, address: Address, timeout_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = SubSocket(self._context, address)
        self._ends_at = clock() + timeout_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()
        self._context.term()

    def fileno(self) -> int:
        """Return the descriptor to watch for reading; edge-triggered: only after `next` has returned None."""
        return self._socket.fileno()

    def next(self) -> MonitorReport | None:
        """Return the next report, None if none waits."""
        while self._clock() < self._ends_at:
            frames = self._socket.receive()
            if frames is None:
                return None
            try:
                (frame,) = frames
                report = codec.decode_monitor(frame)
            except (ValueError, ProtocolError):
                continue
            self.wait_anew()
            return report
        raise ProgramError(
            f"no message from a monitor at {self._address} within {self._timeout_seconds:g} seconds: "
            "the address is in the scheduler's line `monitor listening on`"
        )

    def wait_anew(self) -> None:
        """Begin to count the seconds of silence."""
        self._ends_at = self._clock() + self._timeout_seconds

    def patience_seconds(self) -> float:
        """Return how much longer it may be silent."""
        return max(0.0, self._ends_at - self._clock())
