"""When to ask the policy, and what follows: growth at once, a surplus once it has lasted, the emptiest groups first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from scaler_runtime.core import Peer
from scaler_scheduler.core.adapters import Adapters
from scaler_scheduler.core.backlog import Backlog
from scaler_scheduler.core.dispatch import Dispatch
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.core.state import Adapter, Group, State
from scaler_scheduler.policies.snapshot import AdapterView, Demand, Snapshot, Surplus

PAUSE_SECONDS = 0.05
"""Least time between two decisions; the first after a pause is made at once, and one for twice as many tasks too."""


@dataclass(frozen=True, slots=True)
class _Step:
    """Since a moment the surplus has been at least so many workers."""

    since: float
    workers: int


class Scaling:
    """Carries out the scaling policy."""

    def __init__(self, settings: Settings, state: State, dispatch: Dispatch, adapters: Adapters, now: float) -> None:
        self._policy = settings.policies.scaling
        self._state = state
        self._dispatch = dispatch
        self._adapters = adapters
        self._backlog = Backlog(state)
        self._release_from = now + settings.settling_seconds
        self._lasting: dict[frozenset[Peer], list[_Step]] = {}
        """Steps up, each later than the one before."""
        self._next = now
        self._tasks = 0  # at the last decision
        self._skipped = False
        self.is_concerned = False

    def settle(self, now: float) -> None:
        """Decide, unless that was done a moment ago."""
        managed = [adapter for adapter in self._state.adapters.values() if adapter.report.max_worker_groups]
        self._skipped = False
        self.is_concerned = self._policy.decide is not None and bool(managed)
        if self._policy.decide is None or not managed:
            self._lasting = {}
            self._backlog.forget()
            return
        if now < self._next and self._state.unfinished_tasks <= 2 * self._tasks and not self._backlog.is_due(now):
            self._skipped = True
            return
        self._next = now + PAUSE_SECONDS
        self._tasks = self._state.unfinished_tasks
        decision = self._policy.decide(self.snapshot(managed, now))
        for peer, groups in decision.growth.items():
            self._adapters.grow(self._state.adapters[peer], groups, decision.reason)
        self._release(decision.surplus, decision.reason, now)

    def next_wakeup(self) -> float | None:
        """Return when a decision is wanted without an event: soon, if one was skipped or a surplus is lasting."""
        trial_end = self._backlog.trial_end
        if self._skipped:
            return self._next if trial_end is None else min(self._next, trial_end)
        decided = self._next - PAUSE_SECONDS
        ends = [self._due(step) for steps in self._lasting.values() for step in steps if self._due(step) > decided]
        due = max(self._next, min(ends)) if ends else None
        return trial_end if due is None else due if trial_end is None else min(due, trial_end)

    def snapshot(self, managed: Iterable[Adapter], now: float) -> Snapshot:
        """Return the policy's view of this moment."""
        views = tuple(
            AdapterView(
                peer=adapter.peer,
                capacity=adapter.report.max_worker_groups,
                workers_per_group=max(1, adapter.report.workers_per_group),
                capabilities=adapter.report.capabilities,
                groups=adapter.tally.staying,
                draining=adapter.tally.draining,
                leaving=adapter.tally.stopping,
                is_full=adapter.full is not None or adapter.is_away,
            )
            for adapter in managed
        )
        others = tuple(
            (worker.capabilities, 1)
            for group_id in self._unmanaged()
            for worker in self._state.members[group_id].values()
            if not worker.draining
        )
        known_seconds, unknown_tasks = self._backlog.measure(now)
        demands = tuple(Demand(lane.capabilities, lane.unfinished) for lane in self._dispatch.lanes if lane.unfinished)
        return Snapshot(demands, views, others, known_seconds, unknown_tasks)

    def _unmanaged(self) -> Iterator[str]:
        """Return the groups with workers that no policy can start or stop."""
        state = self._state
        yield from state.members.keys() - state.owners.keys()
        for adapter in state.adapters.values():
            if not adapter.report.max_worker_groups:
                yield from (group_id for group_id in adapter.groups if group_id in state.members)

    def _release(self, surplus: tuple[Surplus, ...], reason: str, now: float) -> None:
        lasting: dict[frozenset[Peer], list[_Step]] = {}
        for item in surplus:
            before = self._lasting.get(item.adapters, [])
            since = next((step.since for step in before if step.workers >= item.workers), now)
            steps = [*(step for step in before if step.workers < item.workers), _Step(since, item.workers)]
            due = max((step.workers for step in steps if now >= self._due(step)), default=0)
            released = self._give_up(item.adapters, due, reason) if due else 0
            lasting[item.adapters] = [
                _Step(step.since, step.workers - released) for step in steps if step.workers > released
            ]
        self._lasting = lasting

    def _due(self, step: _Step) -> float:
        return max(step.since + self._policy.cooldown_seconds, self._release_from)

    def _give_up(self, peers: frozenset[Peer], workers: int, reason: str) -> int:
        """Drain whole groups of no more than `workers` workers; return how many these have."""
        candidates = [
            (self._emptiness(group), adapter, group)
            for adapter in self._state.adapters.values()
            if adapter.peer in peers and not adapter.is_away
            for group in adapter.groups.values()
            if not group.leaving
        ]
        released = 0
        for _, adapter, group in sorted(candidates, key=lambda candidate: candidate[0]):
            size = max(1, adapter.report.workers_per_group)
            if released + size <= workers:
                released += size
                self._adapters.drain(adapter, group, reason)
        return released

    def _emptiness(self, group: Group) -> tuple[bool, float]:
        """Return a key by which groups on their way up come first, then the idle ones, then the least loaded."""
        workers = self._adapters.workers_of(group)
        return bool(workers), sum(worker.load_seconds for worker in workers)
