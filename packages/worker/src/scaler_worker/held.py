"""What a process still has when a scheduler greets it that knows nothing: the task that runs, and unheard outcomes."""

from collections.abc import Iterable

from scaler_protocol.batch import U32, numbers
from scaler_protocol.messages import HeldSlice, Message, TaskResults
from scaler_worker.workload import Piece


def held_slices(unheard: Iterable[Message], running: Piece | None, answered: tuple[int, int]) -> list[HeldSlice]:
    """Return the slices of these outcomes and of what runs, each with the tasks that nobody has heard of.

    `answered` is the slice that was answered last, and the task after the last one of it that was.
    """
    held: dict[int, HeldSlice] = {}
    for results in unheard:
        if isinstance(results, TaskResults):
            slice_id, stop = end_of(results)
            start = numbers(U32, results.starts)[0]
            first = held.setdefault(
                slice_id, HeldSlice(slice_id, results.client_id, results.batch_id, start=start, stop=stop)
            )
            first.stop = stop
    if running is not None:
        assigned = running.assigned
        start = answered[1] if answered[0] == assigned.slice_id else assigned.start
        mine = HeldSlice(assigned.slice_id, assigned.client_id, assigned.batch_id, start, running.limit)
        if mine.slice_id in held:
            held[mine.slice_id].stop = running.limit
        elif mine.start < mine.stop:
            held[mine.slice_id] = mine
    return list(held.values())


def end_of(results: TaskResults) -> tuple[int, int]:
    """Return the slice that is answered, and the task after the last of these."""
    return results.slice_id, numbers(U32, results.starts)[-1] + numbers(U32, results.counts)[-1]
