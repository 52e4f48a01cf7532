"""An engine that runs nothing, with faults on request: for tests, and for simulations under a virtual clock.

`FakeEngine` takes the time with each call; `FakeProvider` is the same behind the provider interface. An engine that
does not see readiness shows its units as RUNNING for good, as batch systems do.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scaler_adapter_core.provider import (
    ENDED_UNITS,
    LaunchOutcome,
    LaunchResult,
    LaunchSpec,
    OnChange,
    ProviderError,
    TerminateMode,
    Unit,
    UnitState,
)
from scaler_protocol.messages import Capabilities

_ACCEPTED = LaunchOutcome(LaunchResult.ACCEPTED)


@dataclass(slots=True)
class Faults:
    """What goes wrong, as long as it stands here."""

    outcomes: deque[LaunchOutcome] = field(default_factory=deque[LaunchOutcome])
    """For the next launches, one each; only ACCEPTED and UNKNOWN can start something."""
    unknown_starts: bool = True
    """Whether a launch of unknown outcome has started its unit."""
    extras: int = 0
    """So many launches start one unit too many, under an id of its own."""
    start_failure: str = ""
    """Units end with this reason instead of becoming ready."""
    never_ready: bool = False
    """Units run, and their workers do not register."""
    deaf: bool = False
    """Units end only when they are killed."""
    down: str = ""
    """Every call raises `ProviderError` with this reason."""


@dataclass(slots=True)
class FakeUnit:
    """A unit, and when it changes by itself."""

    group_id: str
    capabilities: Capabilities
    worker_ids: tuple[str, ...]
    state: UnitState
    reason: str = ""
    changes_at: float = 0.0


class FakeEngine:
    """`units` has everything ever started, in the order of starting. Each state takes the seconds given."""

    def __init__(
        self,
        *,
        pending_seconds: float = 0.0,
        start_seconds: float = 0.0,
        stop_seconds: float = 0.0,
        capacity: int = -1,
        sees_readiness: bool = True,
    ) -> None:
        self.faults = Faults()
        self.units: dict[str, FakeUnit] = {}
        self.launches = 0
        """Calls that were not refused as a whole."""
        self.most_live = 0
        """Most units that lived at one time."""
        self._pending_seconds = pending_seconds
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._capacity = capacity
        self._sees_readiness = sees_readiness

    @property
    def live(self) -> list[FakeUnit]:
        """Units that have not ended."""
        return [unit for unit in self.units.values() if unit.state not in ENDED_UNITS]

    def launch(self, specs: Sequence[LaunchSpec], now: float) -> list[LaunchOutcome]:
        """Start units, as far as capacity and faults let it."""
        self.advance(now)
        self._raise_if_down()
        self.launches += 1
        return [self._launch(spec, now) for spec in specs]

    def observe(self, now: float) -> list[Unit]:
        """Return everything it remembers."""
        self.advance(now)
        self._raise_if_down()
        return [
            Unit(unit.group_id, unit.state, unit.reason, unit.worker_ids, dict(unit.capabilities))
            for unit in self.units.values()
        ]

    def terminate(self, group_ids: Sequence[str], mode: TerminateMode, now: float) -> None:
        """Ask units to end; they do so after `stop_seconds`, killed ones at once."""
        self.advance(now)
        self._raise_if_down()
        for group_id in group_ids:
            unit = self.units.get(group_id)
            if unit is None or unit.state in ENDED_UNITS:
                continue
            if mode is TerminateMode.KILL:
                unit.state, unit.reason = UnitState.GONE, "killed"
            elif not self.faults.deaf:
                unit.state = UnitState.DRAINING if mode is TerminateMode.DRAIN else UnitState.STOPPING
                unit.changes_at = now + self._stop_seconds
        self.advance(now)

    def end(self, group_id: str, reason: str) -> None:
        """Let a unit end by itself, and be remembered."""
        unit = self.units[group_id]
        unit.state, unit.reason = UnitState.FAILED, reason

    def lose(self, group_id: str) -> None:
        """Let a unit vanish without a word."""
        del self.units[group_id]

    def advance(self, now: float) -> None:
        """Let pass what time brings."""
        for unit in self.units.values():
            while self._can_step(unit) and now >= unit.changes_at:
                self._step(unit)

    def next_change(self) -> float | None:
        """Return when a unit changes by itself, None for never."""
        return min((unit.changes_at for unit in self.live if self._can_step(unit)), default=None)

    def _can_step(self, unit: FakeUnit) -> bool:
        if unit.state is UnitState.RUNNING and not self.faults.start_failure:
            return self._sees_readiness and not self.faults.never_ready
        return unit.state in _NEXT

    def _step(self, unit: FakeUnit) -> None:
        """Let a unit go on to its next state."""
        if unit.state is UnitState.RUNNING and self.faults.start_failure:
            unit.state, unit.reason = UnitState.FAILED, self.faults.start_failure
            return
        unit.state = _NEXT[unit.state]
        if unit.state is UnitState.RUNNING:
            unit.changes_at += self._start_seconds

    def _launch(self, spec: LaunchSpec, now: float) -> LaunchOutcome:
        if spec.group_id in self.units:
            return LaunchOutcome(LaunchResult.ALREADY_EXISTS)
        outcome = self.faults.outcomes.popleft() if self.faults.outcomes else _ACCEPTED
        if outcome.result is LaunchResult.UNKNOWN and self.faults.unknown_starts:
            self._start(spec, now)
        if outcome.result is not LaunchResult.ACCEPTED:
            return outcome
        if 0 <= self._capacity <= len(self.live):
            return LaunchOutcome(LaunchResult.NO_CAPACITY, f"all {self._capacity} places are taken")
        self._start(spec, now)
        if self.faults.extras > 0:
            self.faults.extras -= 1
            self._start(LaunchSpec(f"{spec.group_id}-extra", spec.capabilities), now)
        return outcome

    def _start(self, spec: LaunchSpec, now: float) -> None:
        worker_ids = (f"Worker|{spec.name or 'fake'}|{spec.group_id}",)
        self.units[spec.group_id] = FakeUnit(
            spec.group_id, spec.capabilities, worker_ids, UnitState.PENDING, changes_at=now + self._pending_seconds
        )
        self.most_live = max(self.most_live, len(self.live))
        self.advance(now)

    def _raise_if_down(self) -> None:
        if self.faults.down:
            raise ProviderError(self.faults.down)


class FakeProvider:
    """The engine as a provider. While `is_slow`, calls wait until `release`."""

    def __init__(self, engine: FakeEngine, on_change: OnChange, clock: Callable[[], float] = time.monotonic) -> None:
        self.engine = engine
        self.is_closed = False
        self._on_change = on_change
        self._clock = clock
        self._gate = asyncio.Event()
        self._gate.set()

    @property
    def is_slow(self) -> bool:
        """Whether calls wait."""
        return not self._gate.is_set()

    def hold(self) -> None:
        """Let calls wait from now on."""
        self._gate.clear()

    def release(self) -> None:
        """Let them go on."""
        self._gate.set()

    def change(self) -> None:
        """Say that something has changed."""
        self._on_change()

    async def launch(self, specs: Sequence[LaunchSpec]) -> list[LaunchOutcome]:
        """See `Provider`."""
        await self._gate.wait()
        return self.engine.launch(specs, self._clock())

    async def observe(self) -> list[Unit]:
        """See `Provider`."""
        await self._gate.wait()
        return self.engine.observe(self._clock())

    async def terminate(self, group_ids: Sequence[str], mode: TerminateMode, grace_seconds: float) -> None:
        """See `Provider`."""
        await self._gate.wait()
        self.engine.terminate(group_ids, mode, self._clock())
        self._on_change()

    async def diagnose(self, group_id: str) -> str:
        """See `Provider`."""
        await self._gate.wait()
        unit = self.engine.units.get(group_id)
        return unit.reason if unit is not None else ""

    async def close(self) -> None:
        """See `Provider`."""
        self.is_closed = True


_NEXT = {
    UnitState.PENDING: UnitState.RUNNING,
    UnitState.RUNNING: UnitState.READY,
    UnitState.DRAINING: UnitState.GONE,
    UnitState.STOPPING: UnitState.GONE,
}
