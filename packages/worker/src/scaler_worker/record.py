"""What each process runs now, in shared memory: a slot of 64 bytes for each, readable also after it has died.

The process writes without any lock; the host reads whenever it likes. One memfd holds all slots of a host; pages that
no process uses take no memory.
"""

import mmap
import os
from dataclasses import dataclass, field

SLICE = 0
"""Word of a slot: the running slice, 0 while nothing runs."""

TASK = 1
"""Word of a slot: the running task; after it, the task that ran last."""

STARTED = 2
"""Word of a slot, a double: when the task STARTED_TASK began, by the machine's monotonic clock."""

STARTED_TASK = 3
"""Word of a slot: the task that STARTED is about; those that follow it in its block began later."""

WAITING = 4
"""Word of a slot: clients in the process that have unfinished tasks. The task is suspended while there are any."""

SLOT_WORDS = 8
MAX_SLOTS = 1 << 16
_WORD_BYTES = 8


@dataclass(frozen=True, slots=True)
class Running:
    """What a process runs. `started`, which `==` ignores, is None where only its block's beginning is known."""

    slice_id: int
    task: int
    started: float | None = field(default=None, compare=False)


class Record:
    """A process's own slot: `numbers` and `seconds` are the same words, as integers and as doubles."""

    def __init__(self, memory: mmap.mmap, slot: int) -> None:
        words = slice(slot * SLOT_WORDS, (slot + 1) * SLOT_WORDS)
        self.numbers: memoryview[int] = memoryview(memory).cast("Q")[words]
        self.seconds: memoryview[float] = memoryview(memory).cast("d")[words]

    def running(self) -> Running | None:
        """Return what runs, None while nothing does."""
        slice_id, task = self.numbers[SLICE], self.numbers[TASK]
        if slice_id == 0:
            return None
        return Running(slice_id, task, self.seconds[STARTED] if self.numbers[STARTED_TASK] == task else None)

    def note_waiting(self, clients: int) -> None:
        """Write how many clients in the process have unfinished tasks."""
        self.numbers[WAITING] = clients

    @property
    def is_suspended(self) -> bool:
        """Whether what runs waits for tasks of its own."""
        return self.numbers[WAITING] > 0


class Records:
    """The host's view of all slots. `descriptor` is what its processes map."""

    def __init__(self, slots: int = MAX_SLOTS) -> None:
        self.descriptor = os.memfd_create("scaler-records", os.MFD_CLOEXEC)
        os.ftruncate(self.descriptor, slots * SLOT_WORDS * _WORD_BYTES)
        self._memory = mmap.mmap(self.descriptor, 0)
        self._unused = slots
        self._first_unused = 0
        self._free: list[int] = []

    def take(self) -> tuple[int, Record]:
        """Return an empty slot; `OSError` if all are in use."""
        if self._free:
            slot = self._free.pop()
        elif self._first_unused < self._unused:
            slot = self._first_unused
            self._first_unused += 1
        else:
            raise OSError(f"all {self._unused} records of worker processes are in use")
        record = Record(self._memory, slot)
        for word in range(SLOT_WORDS):
            record.numbers[word] = 0
        return slot, record

    def give_back(self, slot: int) -> None:
        """Let a slot be used again: its process is dead."""
        self._free.append(slot)

    def close(self) -> None:
        """Close the descriptor. The memory goes with the last record that is held."""
        os.close(self.descriptor)


def open_record(descriptor: int, slot: int) -> Record:
    """Map a slot in its process; closes the descriptor."""
    try:
        return Record(mmap.mmap(descriptor, 0), slot)
    finally:
        os.close(descriptor)
