"""What a process has to do: slices that wait, the one that runs, and giving back what has not begun.

Recall against start: the main thread writes the task it is about to run, then reads the limit of its slice; the IO
thread writes the limit, then reads the task, and gives back from the later of both. Where the main thread stops because
it saw the lower limit, it asks again under the lock, since a task written just before counts as begun.
"""

import heapq
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from scaler_client.linked import Awaited, Made
from scaler_protocol.batch import MADE_HERE, SINGLE, U32, awaited_runs, covering, numbers, offsets
from scaler_protocol.messages import AssignSlice
from scaler_worker.functions import Function
from scaler_worker.record import SLICE, TASK, Record


@dataclass(slots=True, eq=False)
class Piece:
    """A slice of a batch. Tasks from `limit` on are not, or no longer, this process's."""

    assigned: AssignSlice
    function: Function
    limit: int
    begun: bool = False
    starts: Sequence[int] = field(default_factory=list[int])
    """The first task of each block, and the end of the last."""
    offsets: Sequence[int] = field(default_factory=list[int])
    """Where each block begins in the payload, and the end of the last."""
    awaited: Sequence[Sequence[Awaited]] = ()
    """For each task that there is a block for, the results that it waited for; empty if none waited."""
    needed: frozenset[int] = frozenset()
    """The tasks whose outcome later ones of the slice need."""
    made: dict[int, Awaited | Made] = field(default_factory=dict[int, "Awaited | Made"])
    """Their outcomes, as far as they have run; those without a result too."""

    @classmethod
    def of(cls, assigned: AssignSlice, function: Function) -> "Piece":
        """Make a piece of a message."""
        starts = offsets(numbers(U32, assigned.block_counts), assigned.first)
        ends = offsets(numbers(U32, assigned.block_sizes))
        piece = cls(assigned, function, assigned.stop, starts=starts, offsets=ends)
        if assigned.dependency_counts:
            piece.awaited = _awaited(assigned)
            piece.needed = frozenset(
                result.position for results in piece.awaited for result in results if result.status == MADE_HERE
            )
        return piece

    def block_of(self, task: int) -> tuple[memoryview, int, int]:
        """Return the bytes of the block that holds `task`, its first task, and its end or that of the slice."""
        low = covering(self.starts, task, task + 1)[0]
        block = memoryview(self.assigned.payload)[self.offsets[low] : self.offsets[low + 1]]
        return block, self.starts[low], min(self.starts[low + 1], self.assigned.stop)

    def awaited_of(self, task: int) -> Sequence[Awaited | Made]:
        """Return the outcomes that a task waited for, all with results but for those that were made here."""
        awaited = self.awaited[task - self.assigned.first] if self.awaited else ()
        if not self.needed:
            return awaited
        return [self.made[result.position] if result.status == MADE_HERE else result for result in awaited]

    @property
    def is_calls(self) -> bool:
        """Whether each block is one task."""
        return self.assigned.encoding in SINGLE


class Workload:
    """See the module. The IO thread puts, recalls and drops; the main thread takes and finishes."""

    def __init__(self, record: Record) -> None:
        self._record = record.numbers
        self._lock = threading.Lock()
        self._pieces: dict[int, Piece] = {}
        self._waiting: list[tuple[int, int, Piece]] = []  # a heap; recalled pieces stay until they come up
        self._count = 0
        self._queued = 0  # of the waiting ones, those that are not recalled
        self._something = threading.Lock()  # free when the main thread, waiting, has something to look at
        self._something.acquire()
        self._is_waited_for = False

    # ---- the IO thread's part

    def put(self, piece: Piece) -> None:
        """Add a slice; it comes after all of higher, and of the same, priority."""
        with self._lock:
            self._count += 1
            self._queued += 1
            self._pieces[piece.assigned.slice_id] = piece
            heapq.heappush(self._waiting, (-piece.assigned.priority, self._count, piece))
            if self._is_waited_for:
                self._is_waited_for = False
                self._something.release()

    def recall(self, slice_id: int, limit: int) -> int | None:
        """End a slice before `limit`, or as soon as possible; returns where it ends, None if it has been answered."""
        with self._lock:
            piece = self._pieces.get(slice_id)
            if piece is None:
                return None
            before = piece.limit
            if piece.begun:
                piece.limit = min(before, limit)
                piece.limit = min(before, max(limit, self._record[TASK] + 1))
            else:
                piece.limit = max(piece.assigned.start, min(before, limit))
                if piece.limit == piece.assigned.start:
                    del self._pieces[slice_id]
                    self._queued -= 1
            return piece.limit

    def keep_running(self) -> Piece | None:
        """Forget everything but the task that runs: its slice, which ends behind it, is returned."""
        with self._lock:
            running = None
            for slice_id, piece in list(self._pieces.items()):
                if piece.begun:
                    running = piece
                    before, piece.limit = piece.limit, piece.assigned.start  # see `recall`
                    piece.limit = min(before, self._record[TASK] + 1)
                else:
                    piece.limit = piece.assigned.start
                    del self._pieces[slice_id]
            self._waiting.clear()
            self._queued = 0
            return running

    def has_neighbours(self) -> bool:
        """Whether results may be finished while another task of the same slice runs."""
        if not self._pieces:  # nobody else adds one
            return False
        with self._lock:
            task = self._record[TASK]
            return any(
                piece.limit - (task if piece.begun else piece.assigned.start) > 1 for piece in self._pieces.values()
            )

    def check(self) -> None:
        """Raise `AssertionError` unless the tables are consistent."""
        with self._lock:
            waiting = [piece for _, _, piece in self._waiting if piece.limit > piece.assigned.start]
            begun = [slice_id for slice_id, piece in self._pieces.items() if piece.begun]
            assert len(waiting) == self._queued
            assert not any(piece.begun for piece in waiting)
            assert {piece.assigned.slice_id for piece in waiting} | set(begun) == self._pieces.keys()
            assert begun in ([], [self._record[SLICE]])
            assert all(p.assigned.start <= p.limit <= p.assigned.stop for p in self._pieces.values())

    def describe(self) -> list[str]:
        """Return a line for each slice, for people."""
        with self._lock:
            return [
                f"slice {slice_id}: tasks [{piece.assigned.start}, {piece.limit}) of {piece.function.name}, priority "
                f"{piece.assigned.priority}{', begun' if piece.begun else ''}"
                for slice_id, piece in self._pieces.items()
            ]

    # ---- the main thread's part

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self._queued == 0

    def take(self, timeout: float | None) -> Piece | None:
        """Wait for a slice and begin it; None after `timeout` seconds without one."""
        while True:
            with self._lock:
                while self._waiting:
                    piece = heapq.heappop(self._waiting)[2]
                    if piece.limit > piece.assigned.start:
                        piece.begun = True
                        self._queued -= 1
                        self._record[TASK] = piece.assigned.start
                        self._record[SLICE] = piece.assigned.slice_id
                        return piece
                self._is_waited_for = True
            if not self._something.acquire(timeout=-1 if timeout is None else timeout):
                with self._lock:
                    if self._is_waited_for:
                        self._is_waited_for = False
                        return None
                self._something.acquire()

    def finish(self, piece: Piece, following: int) -> bool:
        """Close the slice if it ends before task `following`; else it is to go on."""
        with self._lock:
            if following < piece.limit:
                return False
            self._pieces.pop(piece.assigned.slice_id, None)
            self._record[SLICE] = 0
            return True

    def claim(self, piece: Piece, stop: int) -> int:
        """Begin all tasks before `stop` at once; returns the end of what is still this process's."""
        with self._lock:
            stop = min(stop, piece.limit)
            if stop > self._record[TASK]:
                self._record[TASK] = stop - 1
            return stop


def _awaited(assigned: AssignSlice) -> list[list[Awaited]]:
    columns = assigned.dependency_statuses, numbers(U32, assigned.dependency_positions), awaited_runs(assigned)
    results = [Awaited(*result) for result in zip(*columns, strict=True)]
    return [results[low:high] for low, high in pairwise(offsets(numbers(U32, assigned.dependency_counts)))]
