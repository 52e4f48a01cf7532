"""When to ask the policy, and what follows: growth at once, a surplus once it has lasted, the emptiest groups first."""

from dataclasses import dataclass

from scaler_runtime.core import Peer
from scaler_scheduler.core.adapters import NOT_YET_READY, Adapters
from scaler_scheduler.core.dispatch import Dispatch
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.core.state import Group, State
from scaler_scheduler.policies.snapshot import AdapterView, Demand, Snapshot, Surplus

PAUSE_SECONDS = 0.05
"""Least time between two decisions; the first after a pause is made at once."""


@dataclass(slots=True)
class _Lasting:
    """A surplus since a moment: the least it has been."""

    since: float
    workers: int


class Scaling:
    """Carries out the scaling policy."""

    def __init__(self, settings: Settings, state: State, dispatch: Dispatch, adapters: Adapters, now: float) -> None:
        self._policy = settings.policies.scaling
        self._state = state
        self._dispatch = dispatch
        self._adapters = adapters
        self._release_from = now + settings.settling_seconds
        self._lasting: dict[frozenset[Peer], _Lasting] = {}
        self._next = now
        self._skipped = False

    def settle(self, now: float) -> None:
        """Decide, unless that was done a moment ago."""
        if self._policy.decide is None or not self._state.adapters:
            return
        self._skipped = now < self._next
        if self._skipped:
            return
        self._next = now + PAUSE_SECONDS
        decision = self._policy.decide(self.snapshot())
        for peer, groups in decision.growth.items():
            self._adapters.add_groups(self._state.adapters[peer], groups, decision.reason)
        self._release(decision.surplus, decision.reason, now)

    def next_wakeup(self) -> float | None:
        """Return when a decision is wanted without an event: soon, if one was skipped or a surplus is lasting."""
        if self._skipped:
            return self._next
        ends = [
            max(lasting.since + self._policy.cooldown_seconds, self._release_from) for lasting in self._lasting.values()
        ]
        return max(self._next, min(ends)) if ends else None

    def snapshot(self) -> Snapshot:
        """Return the policy's view of this moment."""
        managed: set[str] = set()
        views: list[AdapterView] = []
        for adapter in self._state.adapters.values():
            if adapter.report.max_worker_groups == 0:
                continue
            managed.update(adapter.groups)
            supply = sum(group.wanted for group in adapter.groups.values())
            capacity = adapter.report.max_worker_groups
            if adapter.full_at is not None:
                capacity = supply
            elif capacity >= 0:  # what is leaving still takes its place
                capacity -= len(adapter.groups) - supply
            report = adapter.report
            views.append(
                AdapterView(adapter.peer, capacity, max(1, report.workers_per_group), report.capabilities, supply)
            )
        others = tuple(
            (worker.capabilities, 1)
            for worker in self._state.workers.values()
            if worker.group_id not in managed and not worker.draining
        )
        durations = self._state.durations
        known_seconds, unknown_tasks = 0.0, 0
        for function in self._state.functions.values():
            seconds = durations.of(function.function_id)
            if seconds is None:
                unknown_tasks += function.unfinished
            else:
                known_seconds += function.unfinished * seconds
        demands = tuple(Demand(lane.capabilities, lane.unfinished) for lane in self._dispatch.lanes if lane.unfinished)
        return Snapshot(demands, tuple(views), others, known_seconds, unknown_tasks)

    def _release(self, surplus: tuple[Surplus, ...], reason: str, now: float) -> None:
        lasting: dict[frozenset[Peer], _Lasting] = {}
        for item in surplus:
            before = self._lasting.get(item.adapters)
            entry = _Lasting(now, item.workers)
            if before is not None:
                entry = _Lasting(before.since, min(before.workers, item.workers))
            if now < max(entry.since + self._policy.cooldown_seconds, self._release_from):
                lasting[item.adapters] = entry
            else:
                self._give_up(item.adapters, entry.workers, reason)
        self._lasting = lasting

    def _give_up(self, peers: frozenset[Peer], workers: int, reason: str) -> None:
        candidates = [
            (self._emptiness(group), adapter, group)
            for adapter in self._state.adapters.values()
            if adapter.peer in peers
            for group in adapter.groups.values()
            if group.wanted
        ]
        for _, adapter, group in sorted(candidates, key=lambda candidate: candidate[0]):
            size = max(1, adapter.report.workers_per_group)
            if size <= workers:
                workers -= size
                self._adapters.drain(adapter, group, reason)

    def _emptiness(self, group: Group) -> tuple[bool, float]:
        """Return a key by which groups on their way up come first, then the idle ones, then the least loaded."""
        loads = (self._state.workers[worker_id].load_seconds for worker_id in self._adapters.workers_of(group))
        return group.state not in NOT_YET_READY, sum(loads)
