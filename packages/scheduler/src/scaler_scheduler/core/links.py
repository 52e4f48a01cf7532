"""What the tasks of one batch need of others: tables only.

Each result that a task needs is an *edge*. Edges are numbered through, task by task, in the order of the columns that
the client sent.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from scaler_protocol.batch import MAX_BATCH_BYTES, U8, U32, column, offsets
from scaler_protocol.messages import AssignSlice

Span = tuple[int, int]
"""Tasks from the first number up to, not with, the second."""

Source = tuple[int, int]
"""A task that is waited for: the id of its batch, one of the same client's, and its number."""

Awaited = dict[int, dict[tuple[int, int], None]]
"""The tasks of a batch that are waited for: who does so, as the id of a batch and the number of its edge."""


@dataclass(slots=True, eq=False)
class Outcome:
    """How a task ended that others need: its part of a run, which is the item at `position` where several share it."""

    status: int
    position: int
    run: bytes


@dataclass(slots=True, eq=False)
class Links:
    """The edges of a batch's unfinished tasks.

    An edge is the task that is waited for, then its result, and None once its own task is over.
    """

    offsets: list[int]
    """Where the edges of each task begin; the last item is their number."""
    edges: list[Source | Outcome | None]
    missing: dict[int, int] = field(default_factory=dict[int, int])
    """The waiting tasks, and for how many results each waits."""
    failed: dict[int, Outcome] = field(default_factory=dict[int, Outcome])
    """Tasks that had lost what they need before they came, and how they end; they count as waiting until then."""

    @classmethod
    def of(cls, counts: Sequence[int]) -> "Links":
        """Make the tables for tasks with so many edges each; none is known yet."""
        bounds = offsets(counts)
        return cls(bounds, [None] * bounds[-1])

    def edges_of(self, task: int) -> range:
        """Return the edges of a task."""
        return range(self.offsets[task], self.offsets[task + 1])

    def task_of(self, edge: int) -> int:
        """Return whose edge it is."""
        return bisect_right(self.offsets, edge) - 1

    def complete(self, spans: Iterable[Span]) -> list[Span]:
        """Return those parts of some spans of tasks that wait for nothing."""
        found: list[Span] = []
        for start, stop in spans:
            begin = start
            for task in self.waiting(start, stop):
                if begin < task:
                    found.append((begin, task))
                begin = task + 1
            if begin < stop:
                found.append((begin, stop))
        return found

    def waiting(self, start: int, stop: int) -> list[int]:
        """Return the tasks of [start, stop) that wait, in order."""
        if stop - start < len(self.missing):
            return [task for task in range(start, stop) if task in self.missing]
        return sorted(task for task in self.missing if start <= task < stop)

    def sources(self) -> Iterator[tuple[Source, int]]:
        """Return what is waited for, each with the number of the edge."""
        for task in self.missing:
            for edge in self.edges_of(task):
                source = self.edges[edge]
                if isinstance(source, tuple):
                    yield source, edge

    def arrive(self, edge: int, result: Outcome) -> int | None:
        """Take in a result; return the task if it was the last one that it waited for."""
        task = self.task_of(edge)
        self.edges[edge] = result
        self.missing[task] -= 1
        if self.missing[task]:
            return None
        del self.missing[task]
        return task

    def drop(self, task: int) -> list[tuple[Source, int]]:
        """Forget a waiting task; return what it still waited for, each with the number of the edge."""
        del self.missing[task]
        left: list[tuple[Source, int]] = []
        for edge in self.edges_of(task):
            source = self.edges[edge]
            self.edges[edge] = None
            if isinstance(source, tuple):
                left.append((source, edge))
        return left

    def forget(self, start: int, stop: int) -> None:
        """Let go of the results that tasks [start, stop) needed: they are over."""
        low, high = self.offsets[start], self.offsets[stop]
        self.edges[low:high] = [None] * (high - low)

    def inputs(self, start: int, stop: int) -> "Inputs":
        """Return what tasks from `start` up to `stop` need; large results end the slice early, after one task."""
        inputs = Inputs(stop)
        for task in range(start, stop):
            for edge in self.edges_of(task):
                result = self.edges[edge]
                if not isinstance(result, Outcome):
                    raise ValueError(f"task {task} is sent before its time")  # noqa: TRY004 - no matter of types
                inputs.add(result)
            inputs.counts.append(len(self.edges_of(task)))
            if inputs.size >= MAX_BATCH_BYTES:
                inputs.stop = task + 1
                break
        return inputs


class Inputs:
    """The results that go along with a slice, each once."""

    def __init__(self, stop: int) -> None:
        self.stop = stop
        """Where the slice ends."""
        self.counts: list[int] = []
        """How many results each task needs."""
        self.size = 0
        self._results: list[Outcome] = []
        self._sizes: list[int] = []
        self._repeats: list[int] = []
        self._first: dict[int, int] = {}
        """The run's identity to the number of the first result in it."""

    def add(self, result: Outcome) -> None:
        """Add a result of the next task."""
        self._results.append(result)
        number = len(self._results)
        first = self._first.setdefault(id(result.run), number)
        is_new = first == number
        size = len(result.run) if is_new else 0
        self._sizes.append(size)
        self._repeats.append(0 if is_new else first)
        self.size += size

    def put(self, assigned: AssignSlice) -> None:
        """Write everything into the message."""
        if not self._results:
            return
        assigned.dependency_counts = column(U32, self.counts)
        assigned.dependency_statuses = column(U8, [result.status for result in self._results])
        assigned.dependency_positions = column(U32, [result.position for result in self._results])
        assigned.dependency_sizes = column(U32, self._sizes)
        assigned.dependency_repeats = column(U32, self._repeats) if any(self._repeats) else b""
        runs = (result.run for result, repeated in zip(self._results, self._repeats, strict=True) if not repeated)
        assigned.payload = b"".join((assigned.payload, *runs))
