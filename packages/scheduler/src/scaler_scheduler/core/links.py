"""What the tasks of one batch need of others: tables only.

Each result that a task needs is an *edge*. Edges are numbered through, task by task, in the order of the columns that
the client sent.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from scaler_protocol.batch import MADE_HERE, MAX_BATCH_BYTES, U8, U32, column, offsets
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
    ahead: set[int] = field(default_factory=set[int])
    """Those of them that are in a slice all the same: the tasks before them in it make what they need."""
    failed: dict[int, Outcome] = field(default_factory=dict[int, Outcome])
    """How tasks end that will not get what they need: new ones at once, those ahead unless their worker says so."""

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
        """Return the tasks of [start, stop) that wait and are in no slice, in order."""
        if stop - start < len(self.missing):
            return [task for task in range(start, stop) if task in self.missing and task not in self.ahead]
        return sorted(task for task in self.missing if start <= task < stop and task not in self.ahead)

    def sources(self) -> Iterator[tuple[Source, int]]:
        """Return what is waited for, each with the number of the edge."""
        for task in self.missing:
            for edge in self.edges_of(task):
                source = self.edges[edge]
                if isinstance(source, tuple):
                    yield source, edge

    def arrive(self, edge: int, result: Outcome) -> int | None:
        """Take in a result; return the task if it was the last one that it waited for, and it is ready now."""
        task = self.task_of(edge)
        self.edges[edge] = result
        self.missing[task] -= 1
        if self.missing[task]:
            return None
        del self.missing[task]
        if task in self.ahead:
            self.ahead.discard(task)
            return None
        return task

    def drop(self, task: int) -> list[tuple[Source, int]]:
        """Forget a waiting task; return what it still waited for, each with the number of the edge."""
        del self.missing[task]
        self.ahead.discard(task)
        self.failed.pop(task, None)
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

    def reach(self, batch_id: int, start: int, stop: int, most: int) -> int:
        """Return how far a slice of tasks from `start` may go on beyond `stop`, up to `most`.

        It goes on with tasks that need the one before them and else nothing that is missing but results of the slice:
        these could run nowhere earlier, and what they need stays where it is made.
        """
        most = min(most, len(self.offsets) - 1)
        while stop < most and self._follows(batch_id, start, stop):
            stop += 1
        return stop

    def _follows(self, batch_id: int, start: int, task: int) -> bool:
        if task not in self.missing or task in self.ahead:
            return False
        sources = [source for source in self.edges[slice(*self.offsets[task : task + 2])] if isinstance(source, tuple)]
        return (batch_id, task - 1) in sources and all(
            source[0] == batch_id and start <= source[1] < task for source in sources
        )

    def inputs(self, start: int, stop: int) -> "Inputs":
        """Return what tasks from `start` up to `stop` need; large results end the slice early, after one task."""
        inputs = Inputs(stop)
        for task in range(start, stop):
            for edge in self.edges_of(task):
                known = self.edges[edge]
                if isinstance(known, Outcome):
                    inputs.add(known)
                elif known is not None and start <= known[1] < task:
                    inputs.add_made_here(known[1])
                else:
                    raise ValueError(f"task {task} is sent before its time")
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
        self._statuses: list[int] = []
        self._positions: list[int] = []
        self._sizes: list[int] = []
        self._repeats: list[int] = []
        self._runs: list[bytes] = []
        self._first: dict[int, int] = {}
        """The run's identity to the number of the first result in it."""

    def add(self, result: Outcome) -> None:
        """Add a result of the next task."""
        number = len(self._statuses) + 1
        first = self._first.setdefault(id(result.run), number)
        if first < number:
            self._put(result.status, result.position, 0, first)
            return
        self._put(result.status, result.position, len(result.run), 0)
        self._runs.append(result.run)
        self.size += len(result.run)

    def add_made_here(self, task: int) -> None:
        """Add a result that a task of the slice makes."""
        self._put(MADE_HERE, task, 0, 0)

    def put(self, assigned: AssignSlice) -> None:
        """Write everything into the message."""
        if not self._statuses:
            return
        assigned.dependency_counts = column(U32, self.counts)
        assigned.dependency_statuses = column(U8, self._statuses)
        assigned.dependency_positions = column(U32, self._positions)
        assigned.dependency_sizes = column(U32, self._sizes)
        assigned.dependency_repeats = column(U32, self._repeats) if any(self._repeats) else b""
        assigned.payload = b"".join((assigned.payload, *self._runs))

    def _put(self, status: int, position: int, size: int, repeated: int) -> None:
        self._statuses.append(status)
        self._positions.append(position)
        self._sizes.append(size)
        self._repeats.append(repeated)
