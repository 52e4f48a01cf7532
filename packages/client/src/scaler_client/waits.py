"""The calls of a batch some of which wait for results: packed anew each time they are sent, with what is there then."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from scaler_client.future import ScalerFuture
from scaler_client.linked import AwaitedLink, Link, Linked, Place, write_linked
from scaler_client.linking import LinkedCall
from scaler_client.sources import Given, Lost, Source
from scaler_protocol.batch import U32, U64, column


@dataclass(slots=True, eq=False)
class Columns:
    """The part of `SubmitBatch` that tells of blocks and dependencies."""

    block_sizes: bytes
    payload: bytes
    dependency_counts: bytes
    dependency_batches: bytes
    dependency_tasks: bytes


class Waits:
    """See the module. A call is dropped with the outcome of its task, and with it what it needed."""

    def __init__(self, calls: Sequence[LinkedCall]) -> None:
        self._calls: list[LinkedCall | None] = list(calls)
        self.size = sum(call.inline_bytes for call in calls)
        """Bytes of the arguments, when they were packed last; before that, without the results that go along."""

    def connect(self, source_of: Callable[[ScalerFuture], Source]) -> None:
        """Put sources in the place of futures."""
        for call in self._calls:
            if call is not None and call.sources:
                call.sources = [
                    source_of(source) if isinstance(source, ScalerFuture) else source for source in call.sources
                ]

    def lost(self) -> Iterator[tuple[int, Lost]]:
        """Return the calls that will not get what they need, in order; one may be the source of the next."""
        for index, call in enumerate(self._calls):
            for source in call.sources if call is not None else ():
                if isinstance(source, Source) and isinstance(source.outcome, Lost):
                    yield index, source.outcome
                    break

    def forget(self, start: int, stop: int) -> None:
        """Let go of calls that are over."""
        self._calls[start:stop] = [None] * (stop - start)

    def pack(self) -> Columns:
        """Return the blocks of the calls that are not over."""
        blocks: list[bytes] = []
        counts: list[int] = []
        awaited: list[Source] = []
        for call in self._calls:
            before = len(awaited)
            blocks.append(b"" if call is None else _block(call, awaited))
            counts.append(len(awaited) - before)
        payload = b"".join(blocks)
        self.size = len(payload)
        return Columns(
            block_sizes=column(U32, [len(block) for block in blocks]),
            payload=payload,
            dependency_counts=column(U32, counts) if awaited else b"",
            dependency_batches=column(U64, [source.batch_id for source in awaited]),
            dependency_tasks=column(U32, [source.index for source in awaited]),
        )


def _block(call: LinkedCall, awaited: list[Source]) -> bytes:
    """Return the block of a call; the sources whose results it still waits for are added to `awaited`."""
    if call.linked is None:
        return call.block
    sources = iter(call.sources)
    links: list[tuple[Place, Link]] = []
    for place, link in call.linked.links:
        source = next(sources) if isinstance(link, AwaitedLink) else None
        if not isinstance(source, Source):
            links.append((place, link))
        elif isinstance(source.outcome, Given):
            links.append((place, source.outcome.make_link()))
        else:
            links.append((place, link))
            awaited.append(source)
    return write_linked(Linked(call.linked.call, call.linked.stored, links))
