"""A batch on its way: what was submitted, and which of its tasks have their outcome."""

from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakValueDictionary

from scaler_client.functions import Function
from scaler_client.future import ProfileResult
from scaler_client.outcomes import Failure
from scaler_client.packing import Packed
from scaler_client.serializer import Serializer
from scaler_client.sources import Source
from scaler_client.spans import Span, Spans
from scaler_protocol.batch import U32, column
from scaler_protocol.messages import Capabilities, SubmitBatch


class Receiver(Protocol):
    """Who gets the outcomes of a batch; each task gets exactly one. Must not raise, must not wait."""

    def succeeded(self, start: int, values: list[Any], profile: ProfileResult) -> None:
        """Tasks from `start` have these results; each took about what `profile` says."""
        ...

    def failed(self, start: int, stop: int, failure: Failure, profile: ProfileResult) -> None:
        """Tasks [start, stop) have no result."""
        ...

    def cancelled(self, start: int, stop: int) -> None:
        """Tasks [start, stop) were ended on request."""
        ...


@dataclass(slots=True, eq=False)
class GraphTerms:
    """What the batches of one graph have in common: its number, and how many of its tasks wait for nothing.

    None do once it has been accepted: then `ready` is 0.
    """

    number: int
    ready: int


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
    stream_output: bool = False
    finished: Spans = field(default_factory=Spans)
    cancelling: set[int] = field(default_factory=set[int])
    """Tasks whose end was asked for and that have no outcome yet; only of batches that were sent."""
    submitted_at: float = 0.0
    graph: GraphTerms | None = None
    wanted: frozenset[int] | None = None
    """The tasks whose results the receiver wants, if not all."""
    sources: WeakValueDictionary[int, Source] | None = None
    """The tasks whose outcome other calls wait for."""

    @property
    def unfinished(self) -> int:
        """How many tasks have no outcome."""
        return self.packed.count - self.finished.size

    def wants(self, spans: list[Span]) -> bool:
        """Whether the receiver wants one of these results."""
        return self.wanted is None or any(index in self.wanted for span in spans for index in range(*span))

    def source(self, index: int) -> Source:
        """Return what stands for one of the tasks where calls wait for it."""
        if self.sources is None:
            self.sources = WeakValueDictionary()
        source = self.sources.get(index)
        if source is None:
            source = self.sources[index] = Source(self.batch_id, index)
        return source

    def sources_of(self, start: int, stop: int) -> list[Source]:
        """Return those of tasks [start, stop)."""
        if not self.sources:
            return []
        if len(self.sources) < stop - start:
            return [source for source in self.sources.values() if start <= source.index < stop]
        found = (self.sources.get(index) for index in range(start, stop))
        return [source for source in found if source is not None]

    def message(self) -> SubmitBatch:
        """Return the batch as it is sent, without the tasks that are finished."""
        packed = self.packed
        message = SubmitBatch(
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
            stream_output=self.stream_output,
            finished=column(U32, [edge for span in self.finished for edge in span]) if self.finished.size else b"",
        )
        if self.graph is not None:
            message.graph, message.graph_ready = self.graph.number, self.graph.ready
        if packed.waits is not None:
            columns = packed.waits.pack()
            message.block_counts = column(U32, [1]) * packed.count
            message.block_sizes, message.payload = columns.block_sizes, columns.payload
            message.dependency_counts = columns.dependency_counts
            message.dependency_batches = columns.dependency_batches
            message.dependency_tasks = columns.dependency_tasks
        return message
