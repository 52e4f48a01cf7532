"""Who should give queued tasks back, because somebody else has nothing to do or much less. Keeps count, sends nothing.

A plan is made whenever somebody has nothing to do, and at the latest after a period. A new one is carried out at once;
one that is the same as the donor's last, as its tasks have come back to it, must come up several times.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from math import inf

from scaler_scheduler.core.hungry import is_hungry
from scaler_scheduler.core.lanes import Lane, Lanes
from scaler_scheduler.core.state import Slice, Worker

RECALL_WORTH_SECONDS = 0.001
"""Less queued work than this is not worth a recall, unless its worker is stuck."""

STUCK_SECONDS = 0.02
"""A worker that has answered nothing for so long may be busy with a long task, whatever the estimates say."""

UNEVEN_SECONDS = 0.1
"""Workers that all have something to do may differ so much."""

_LOOKED_AT = 32

Limits = list[tuple[Slice, int]]
"""Slices, and where each shall end."""


@dataclass(slots=True)
class _Plan:
    """What a donor was last told to give back, as (batch, start, stop), and how often that has come up since."""

    tasks: list[tuple[int, int, int]]
    times: int = 0


class Balance:
    """The lists of idle workers and of workers with queued tasks."""

    def __init__(self, period_seconds: float = 1.0, trigger_times: int = 2) -> None:
        self.recalls = 0
        """Slices whose return is awaited."""
        self._period_seconds = period_seconds
        self._trigger_times = trigger_times
        self._donors: dict[Worker, None] = {}
        self._idle: dict[Worker, None] = {}
        self._last: dict[Worker, _Plan] = {}
        self._has_fallen_idle = False
        self._period_ends: float | None = None  # while there are donors
        self._planned_at = 0.0
        self.is_concerned = False
        """Whether somebody has queued tasks, or had, or has fallen idle since the last plans."""

    def note(self, worker: Worker) -> None:
        """Take note of a change of the worker's load or state."""
        available = not (worker.draining or worker.blocked or worker.stopped_since is not None)
        if worker.outstanding == 0 and available and worker.floor < inf:
            if worker not in self._idle:
                self._idle[worker] = None
                self._has_fallen_idle = self.is_concerned = True
        elif worker in self._idle:
            del self._idle[worker]
        if worker.outstanding > 1 and not worker.recalls and available:
            self._donors[worker] = None
            self.is_concerned = True
        elif worker in self._donors:
            del self._donors[worker]

    def remove(self, worker: Worker) -> None:
        """Forget a worker."""
        self._idle.pop(worker, None)
        self._donors.pop(worker, None)
        self._last.pop(worker, None)

    def next_wakeup(self, lanes: Lanes) -> float | None:
        """Return when the period ends, None while nobody has queued tasks.

        Sooner, if somebody has nothing to do, and nothing is ready for him: they may become worth a recall with time.
        """
        if not (self._donors and self._idle and self.queued(lanes.idle(), 1)):
            return self._period_ends
        look_at = self._planned_at + STUCK_SECONDS
        return look_at if self._period_ends is None else min(look_at, self._period_ends)

    def queued(self, idle: Mapping[Lane, float], most: int) -> int:
        """Return how many tasks of the idle lanes are queued behind others, up to `most`; only some donors are seen."""
        found = 0
        for donor in islice(self._donors, _LOOKED_AT):
            for _, count in movable(donor, idle):
                found += count
                if found >= most:
                    return most
        return found

    def plans(self, now: float, lanes: Lanes) -> list[tuple[Worker, Limits]]:
        """Return who shall give back what now: at most one donor for each worker with nothing to do.

        At the end of a period, the most loaded worker as well.
        """
        has_fallen_idle, self._has_fallen_idle = self._has_fallen_idle, False
        self._planned_at = now
        self.is_concerned = bool(self._donors)
        if not self._donors:
            self._period_ends = None
            return []
        is_over = self._period_ends is not None and now >= self._period_ends
        if is_over or self._period_ends is None:
            self._period_ends = now + self._period_seconds
        counts = has_fallen_idle or is_over
        plans = self._for_idle(now, lanes.idle(), counts=counts)
        if is_over and not plans:
            plans = self._for_evenness(counts=counts)
        return plans

    def _for_idle(self, now: float, idle: Mapping[Lane, float], *, counts: bool) -> list[tuple[Worker, Limits]]:
        spare = len(self._idle) - self.recalls
        if spare <= 0:
            return []
        found: list[tuple[Worker, Limits]] = []
        for donor in sorted(islice(self._donors, _LOOKED_AT), key=_load, reverse=True):
            if len(found) < spare and _is_worth_a_recall(donor, now):
                limits = _newest(donor, idle, max(1, (donor.outstanding - 1) // 2))
                if limits and self._may_move(donor, limits, counts=counts):
                    found.append((donor, limits))
                    continue
            del self._donors[donor]  # it goes to the end, so that all are looked at in turn
            self._donors[donor] = None
        return found

    def _for_evenness(self, *, counts: bool) -> list[tuple[Worker, Limits]]:
        """Take from the most loaded worker half of what it has more than the least loaded that would be given it."""
        donor = max(islice(self._donors, _LOOKED_AT), key=_load)
        lane = next((piece.batch.lane for piece in reversed(donor.slices.values())), None)
        if lane is None or lane.ready.tasks:  # whoever is free takes what is ready
            return []
        takers = (worker for worker in lane.hungry.workers if worker is not donor and is_hungry(worker))
        least = min(takers, key=_load, default=donor)
        surplus = donor.load_seconds - least.load_seconds
        if surplus < UNEVEN_SECONDS or not least.outstanding:  # who has nothing to do is dealt with
            return []
        wanted = round(surplus / 2 / (donor.load_seconds / donor.outstanding))
        limits = _newest(donor, {lane: -inf}, wanted)
        return [(donor, limits)] if limits and self._may_move(donor, limits, counts=counts) else []

    def _may_move(self, donor: Worker, limits: Limits, *, counts: bool) -> bool:
        """Whether a plan is to be carried out. `counts`: this is one of the times that it comes up."""
        tasks = [(piece.batch.order, limit, piece.stop) for piece, limit in limits]
        last = self._last.get(donor)
        if last is None or last.tasks != tasks:
            self._last[donor] = _Plan(tasks)
            return True
        last.times += counts
        if last.times < self._trigger_times:
            return False
        last.times = 0
        return True


def movable(donor: Worker, idle: Mapping[Lane, float]) -> Iterator[tuple[Slice, int]]:
    """Return slices with how many of their tasks somebody idle may run, the newest first; never the running task."""
    running = donor.running
    for piece in reversed(donor.slices.values()):
        count = piece.stop - piece.next - (piece is running)
        if piece.batch.links is not None and piece.stop - 1 in piece.batch.links.ahead:
            continue  # what it needs is made here
        if count > 0 and piece.batch.submitted.priority > idle.get(piece.batch.lane, inf):
            yield piece, count


def _newest(donor: Worker, lanes: Mapping[Lane, float], wanted: int) -> Limits:
    """Return where the donor's slices have to end to give back so many tasks, or what there is of them."""
    limits: Limits = []
    for piece, most in movable(donor, lanes):
        if wanted < 1:
            break
        count = min(wanted, most)
        limits.append((piece, piece.stop - count))
        wanted -= count
    return limits


def _load(worker: Worker) -> float:
    return worker.load_seconds


def _is_worth_a_recall(worker: Worker, now: float) -> bool:
    queued_seconds = worker.load_seconds * (worker.outstanding - 1) / worker.outstanding
    return queued_seconds >= RECALL_WORTH_SECONDS or now - worker.progressed_at >= STUCK_SECONDS
