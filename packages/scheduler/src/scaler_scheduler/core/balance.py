"""Who should give queued tasks back, because somebody else has nothing to do. Keeps count, sends nothing."""

from collections.abc import Iterator
from itertools import islice

from scaler_scheduler.core.lanes import Lane, Lanes
from scaler_scheduler.core.state import Slice, Worker

RECALL_WORTH_SECONDS = 0.001
"""Less queued work than this is not worth a recall, unless its worker is stuck."""

STUCK_SECONDS = 0.02
"""A worker that has answered nothing for so long may be busy with a long task, whatever the estimates say."""

_LOOKED_AT = 32


class Balance:
    """The lists of idle workers and of workers with queued tasks."""

    def __init__(self) -> None:
        self.recalls = 0
        """Slices whose return is awaited."""
        self._donors: dict[Worker, None] = {}
        self._idle: dict[Worker, None] = {}

    def note(self, worker: Worker) -> None:
        """Take note of a change of the worker's load or state."""
        if worker.outstanding == 0 and not worker.draining and not worker.stopped:
            self._idle[worker] = None
        else:
            self._idle.pop(worker, None)
        if worker.outstanding > 1 and not worker.recalls and not worker.draining and not worker.stopped:
            self._donors[worker] = None
        else:
            self._donors.pop(worker, None)

    def remove(self, worker: Worker) -> None:
        """Forget a worker."""
        self._idle.pop(worker, None)
        self._donors.pop(worker, None)

    def is_wanted(self, lanes: Lanes) -> bool:
        """Whether somebody has nothing to do, and nothing is ready for him, while somebody has queued tasks."""
        return bool(self._donors) and bool(self._idle) and bool(lanes.idle())

    def donors(self, now: float, idle: set[Lane]) -> list[Worker]:
        """Return who shall give back tasks of the idle lanes now, at most one for each worker not supplied yet."""
        spare = len(self._idle) - self.recalls
        if spare <= 0 or not self._donors:
            return []
        found: list[Worker] = []
        for donor in sorted(islice(self._donors, _LOOKED_AT), key=_load, reverse=True):
            if len(found) < spare and _is_worth_a_recall(donor, now) and any(movable(donor, idle)):
                found.append(donor)
            else:  # it goes to the end, so that all are looked at in turn
                del self._donors[donor]
                self._donors[donor] = None
        return found


def movable(donor: Worker, idle: set[Lane]) -> Iterator[tuple[Slice, int]]:
    """Return slices with how many of their tasks somebody idle may run, the newest first; never the running task."""
    running = donor.running
    for piece in reversed(donor.slices.values()):
        count = piece.stop - piece.next - (piece is running)
        if count > 0 and piece.batch.lane in idle:
            yield piece, count


def _load(worker: Worker) -> float:
    return worker.load_seconds


def _is_worth_a_recall(worker: Worker, now: float) -> bool:
    queued_seconds = worker.load_seconds * (worker.outstanding - 1) / worker.outstanding
    return queued_seconds >= RECALL_WORTH_SECONDS or now - worker.progressed_at >= STUCK_SECONDS
