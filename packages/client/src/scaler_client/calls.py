"""Single calls on their way into a batch, and their outcomes on the way back to the futures."""

from dataclasses import dataclass, field
from typing import Any

from scaler_client.completion import cancel, complete, fail, fail_in_child
from scaler_client.functions import Function
from scaler_client.future import ProfileResult, ScalerFuture, Ticket
from scaler_client.outcomes import Failure
from scaler_protocol.batch import Encoding
from scaler_protocol.messages import Capabilities


@dataclass(slots=True, eq=False)
class Terms:
    """What holds for all tasks of a batch."""

    function: Function
    encoding: Encoding
    priority: int
    timed: bool
    capabilities: Capabilities


@dataclass(slots=True, eq=False)
class OpenBatch:
    """Calls with the same terms that no one has packed yet."""

    terms: Terms
    ticket: Ticket
    items: list[Any] = field(default_factory=list[Any])
    futures: list[ScalerFuture | None] = field(default_factory=list["ScalerFuture | None"])
    size: int = 0


class FutureReceiver:
    """Brings outcomes to futures, and lets go of each future that has its own."""

    __slots__ = ("_futures",)

    def __init__(self, futures: list[ScalerFuture | None]) -> None:
        self._futures = futures

    def succeeded(self, start: int, values: list[Any], profile: ProfileResult) -> None:
        complete(self._take(start, start + len(values)), values, profile)

    def failed(self, start: int, stop: int, failure: Failure, profile: ProfileResult) -> None:
        for future in self._take(start, stop):
            fail(future, failure(), profile)

    def cancelled(self, start: int, stop: int) -> None:
        for future in self._take(start, stop):
            cancel(future)

    def end_in_child(self, error: BaseException) -> None:
        """End all in a forked process."""
        for future in self._futures:
            if future is not None:
                fail_in_child(future, error)

    def _take(self, start: int, stop: int) -> list[ScalerFuture]:
        taken = [future for future in self._futures[start:stop] if future is not None]
        self._futures[start:stop] = [None] * (stop - start)
        return taken
