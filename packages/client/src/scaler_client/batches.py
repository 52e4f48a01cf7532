"""A batch on its way: what was submitted, and which of its tasks have their outcome."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from scaler_client.functions import Function
from scaler_client.outcomes import Failure
from scaler_client.packing import Packed
from scaler_client.serializer import Serializer
from scaler_client.spans import Spans
from scaler_protocol.batch import U32, column
from scaler_protocol.messages import Capabilities, SubmitBatch


class Receiver(Protocol):
    """Who gets the outcomes of a batch; each task gets exactly one. Must not raise, must not wait."""

    def succeeded(self, start: int, values: list[Any], seconds: float) -> None:
        """Tasks from `start` have these results; each took about `seconds`."""
        ...

    def failed(self, start: int, stop: int, failure: Failure, seconds: float) -> None:
        """Tasks [start, stop) have no result."""
        ...

    def cancelled(self, start: int, stop: int) -> None:
        """Tasks [start, stop) were ended on request."""
        ...


@dataclass(slots=True, eq=False)
class Batch:
    """One batch; it is kept until every task has its outcome, as a new scheduler needs it again."""

    batch_id: int
    function: Function
    packed: Packed
    serializer: Serializer
    receiver: Receiver
    priority: int = 0
    timed: bool = False
    capabilities: Capabilities = field(default_factory=dict[str, int])
    finished: Spans = field(default_factory=Spans)
    cancelling: set[int] = field(default_factory=set[int])
    """Tasks whose end was asked for and that have no outcome yet; only of batches that were sent."""
    submitted_at: float = 0.0

    @property
    def unfinished(self) -> int:
        """How many tasks have no outcome."""
        return self.packed.count - self.finished.size

    def message(self) -> SubmitBatch:
        """Return the batch as it is sent, without the tasks that are finished."""
        packed = self.packed
        return SubmitBatch(
            batch_id=self.batch_id,
            function_id=self.function.function_id,
            count=packed.count,
            encoding=packed.encoding,
            block_counts=packed.block_counts,
            block_sizes=packed.block_sizes,
            payload=packed.payload,
            priority=self.priority,
            timed=self.timed,
            capabilities=self.capabilities,
            finished=column(U32, [edge for span in self.finished for edge in span]),
        )
