"""The table of an adapter's groups: takes in launches, their outcomes and observations, and says what changed by them.

What the engine shows is the truth: a group nobody knew is adopted, one believed dead that lives is alive.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from scaler_adapter_core.model import COMING, ENDED, STATE_OF_UNIT, UP_SECONDS, Group, GroupState, Limits
from scaler_adapter_core.provider import ENDED_UNITS, LaunchSpec, TerminateMode, Unit, UnitState
from scaler_protocol.messages import GroupSpec

MAX_ENDED = 2048
"""Most groups that have ended and are still reported."""
MAX_USED = 4096
"""So many ids of ended groups are remembered: they are not started again."""
TOLD_SECONDS = 60.0
"""How long an end is reported where no command shows that the scheduler has heard it."""


@dataclass(frozen=True, slots=True)
class Change:
    """A group that has a new state. `before` is None for one that was found, and for one not there after all."""

    group: Group
    before: GroupState | None


class Groups:
    """See the module. `table` is read by everyone and changed here only."""

    def __init__(self, limits: Limits) -> None:
        self.table: dict[str, Group] = {}
        self._limits = limits
        self._used: dict[str, None] = {}  # in order of their end

    def live(self) -> Iterator[Group]:
        """Return the groups that take a place."""
        return (group for group in self.table.values() if group.is_live)

    def was_used(self, group_id: str) -> bool:
        """Whether the id belonged to a group that has ended and is not reported any more."""
        return group_id in self._used

    def check(self) -> None:
        """Raise `AssertionError` unless the table is consistent."""
        assert all(group_id == group.group_id for group_id, group in self.table.items())
        ended = [group for group in self.table.values() if not group.is_live]
        assert len(ended) <= MAX_ENDED
        assert len(self._used) <= MAX_USED
        assert len(self._used) == MAX_USED or all(group.group_id in self._used for group in ended)
        assert all(group.told_at is None for group in self.live())

    # ---- what the adapter does

    def on_launching(self, specs: Iterable[LaunchSpec], now: float) -> None:
        """Count these as starting: their launch is on its way."""
        for spec in specs:
            self.table[spec.group_id] = Group(
                spec.group_id, spec.capabilities, GroupState.REQUESTED, now, now, now, name=spec.name
            )

    def on_accepted(self, group_id: str, now: float) -> None:
        """The engine has it; how far it is, the next observation tells."""
        self.table[group_id].seen_at = now

    def on_unknown(self, group_id: str, reason: str, now: float) -> None:
        """Nobody knows whether the engine has it."""
        group = self.table[group_id]
        group.is_unknown, group.reason, group.seen_at = True, reason, now

    def on_not_launched(self, group_id: str) -> None:
        """The engine does not have it: it takes no place."""
        del self.table[group_id]

    def on_asked(self, group_id: str, mode: TerminateMode, reason: str, now: float) -> None:
        """A live group is being asked to end; a reason at the first time is the adapter's own."""
        group = self.table[group_id]
        if group.asked is None:
            group.doom = reason
        group.asked, group.asked_at = mode, now
        self._enter(group, GroupState.DRAINING if mode is TerminateMode.DRAIN else GroupState.STOPPING, reason, now)

    def on_taken(self, group_ids: Iterable[str], now: float) -> None:
        """The engine has asked these to end: their grace begins."""
        for group_id in group_ids:
            group = self.table[group_id]
            group.asked_at, group.unheard = now, 0

    def on_not_taken(self, group_ids: Iterable[str], reason: str, now: float) -> None:
        """The engine may not have asked these to end."""
        for group_id in group_ids:
            group = self.table[group_id]
            group.asked_at, group.unheard = now, group.unheard + 1
            self._enter(group, group.state, f"could not be asked to end: {reason}", now)

    def add_ended(self, spec: LaunchSpec | GroupSpec, state: GroupState, reason: str, now: float) -> None:
        """Report the end of a group that never was."""
        name = spec.name if isinstance(spec, LaunchSpec) else ""
        group = Group(spec.group_id, spec.capabilities, state, now, now, now, reason, name)
        self.table[group.group_id] = group
        self._bury(group)

    # ---- what the engine shows

    def on_observed(self, units: Sequence[Unit], now: float) -> list[Change]:
        """Take in everything the engine has."""
        changes: list[Change] = []
        seen = _by_group(units)
        for group_id, unit in seen.items():
            group = self.table.get(group_id)
            if group is None and unit.state not in ENDED_UNITS:
                group = Group(group_id, dict(unit.capabilities), GroupState.REQUESTED, now, now, now)
                self.table[group_id] = group
                self._take(group, unit, now)
                changes.append(Change(group, None))
            elif group is not None:
                before = group.state
                self._take(group, unit, now)
                if group.state is not before:
                    changes.append(Change(group, before))
        patience = self._limits.absence_seconds
        missing = [group for group in self.live() if group.group_id not in seen and now >= group.seen_at + patience]
        return changes + [self._vanish(group, now) for group in missing]

    def explain(self, group_id: str, text: str) -> None:
        """Add what was found out about the end of a group."""
        group = self.table.get(group_id)
        if group is not None and not group.is_live and text and text not in group.reason:
            group.reason = f"{group.reason}: {text}" if group.reason else text

    # ---- what the scheduler knows

    def on_registered(self, group_ids: Iterable[str], now: float) -> None:
        """All workers of these groups have registered, whether the engine can see that or not."""
        for group_id in group_ids:
            group = self.table.get(group_id)
            if group is None or not group.is_live or group.is_registered:
                continue
            group.is_registered = group.came_up = True
            if group.state is GroupState.RUNNING:
                self._enter(group, GroupState.READY, group.reason, now)

    def on_told(self, now: float) -> None:
        """Everything here has just been reported."""
        for group in self.table.values():
            if not group.is_live and group.told_at is None:
                group.told_at = now

    def forget(self, now: float, *, named: frozenset[str] | None = None) -> None:
        """Drop ended groups that the scheduler has heard of: a later command does not name them, or time has passed."""
        for group in list(self.table.values()):
            if group.told_at is None:
                continue
            if now >= group.told_at + TOLD_SECONDS or (named is not None and group.group_id not in named):
                del self.table[group.group_id]

    def next_forget(self) -> float | None:
        """Return when `forget` is wanted."""
        told = (group.told_at for group in self.table.values() if group.told_at is not None)
        first = min(told, default=None)
        return None if first is None else first + TOLD_SECONDS

    # ---- inside

    def _take(self, group: Group, unit: Unit, now: float) -> None:
        if unit.worker_ids:
            group.worker_ids = list(unit.worker_ids)
        if unit.state in ENDED_UNITS:
            if group.is_live:
                self._end(group, unit.state, unit.reason, now)
            return
        group.seen_at, group.is_unknown, group.told_at = now, False, None
        if unit.capabilities:
            group.capabilities = dict(unit.capabilities)
        state = STATE_OF_UNIT[unit.state]
        if group.is_registered and state in COMING:  # engines that poll are late, others never know
            state = GroupState.READY
        if group.asked is not None and state not in {GroupState.DRAINING, GroupState.STOPPING}:
            state = GroupState.DRAINING if group.asked is TerminateMode.DRAIN else GroupState.STOPPING
        self._enter(group, state, unit.reason or group.doom, now)
        is_up = state is GroupState.RUNNING and now - group.since >= UP_SECONDS
        if state is GroupState.READY or (is_up and self._limits.registration_seconds is None):
            group.came_up = True

    def _vanish(self, group: Group, now: float) -> Change:
        before = group.state
        if group.is_unknown:
            del self.table[group.group_id]
            return Change(group, None)
        self._end(group, UnitState.FAILED, "the engine does not know it any more", now)
        return Change(group, before)

    def _end(self, group: Group, end: UnitState, reason: str, now: float) -> None:
        if group.doom:
            state, text = GroupState.FAILED, group.doom
        elif group.asked is not None:
            state, text = GroupState.GONE, "stopped"
        elif end is UnitState.GONE:
            state, text = GroupState.GONE, reason or "it ended in order"
        else:
            state = GroupState.LOST if group.came_up else GroupState.FAILED
            text = reason or "it ended for an unknown reason"
        group.is_unknown = False
        self._enter(group, state, text, now)
        self._bury(group)

    def _enter(self, group: Group, state: GroupState, reason: str, now: float) -> None:
        if group.state is not state:
            group.state, group.since = state, now
        group.reason = reason

    def _bury(self, group: Group) -> None:
        self._used[group.group_id] = None
        while len(self._used) > MAX_USED:
            del self._used[next(iter(self._used))]
        if len(self.table) <= MAX_ENDED:
            return
        ended = [other for other in self.table.values() if other.state in ENDED]
        for other in ended[: max(0, len(ended) - MAX_ENDED)]:
            del self.table[other.group_id]


def _by_group(units: Iterable[Unit]) -> dict[str, Unit]:
    """Put the units of one group together: what lives counts, the worker ids add up."""
    result: dict[str, Unit] = {}
    for unit in units:
        known = result.get(unit.group_id)
        if known is None:
            result[unit.group_id] = unit
            continue
        shown = unit if known.state in ENDED_UNITS else known
        worker_ids = tuple(dict.fromkeys((*known.worker_ids, *unit.worker_ids)))
        result[unit.group_id] = Unit(shown.group_id, shown.state, shown.reason, worker_ids, shown.capabilities)
    return result
