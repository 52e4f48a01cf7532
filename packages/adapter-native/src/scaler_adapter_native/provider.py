"""Worker processes of this machine as an engine: a worker host runs them, each is a group of its own."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from scaler_adapter_core.provider import (
    ENDED_UNITS,
    LaunchOutcome,
    LaunchResult,
    LaunchSpec,
    TerminateMode,
    Unit,
    UnitState,
)
from scaler_protocol.identifiers import new_id, new_worker_id
from scaler_protocol.messages import Capabilities

MAX_ENDED = 100
"""Most ended workers whose reasons are kept."""


class HostedWorker(Protocol):
    """A worker as its host shows it."""

    @property
    def state(self) -> str:
        """One of the keys of `_STATES`."""
        ...

    @property
    def reason(self) -> str:
        """Why it is so."""
        ...

    @property
    def in_order(self) -> bool:
        """Of one that has ended: whether it did as it was told, by whomever."""
        ...


class Host(Protocol):
    """What is needed of `scaler_worker.host.WorkerHost`."""

    def start(self, group_id: str, worker_id: str, capabilities: dict[str, int] | None = None) -> None: ...
    def stop(self, worker_id: str, *, kill: bool = False) -> None: ...
    def workers(self) -> Mapping[str, HostedWorker]: ...
    def forget(self, worker_id: str) -> None: ...
    async def drain(self, seconds: float) -> None: ...
    async def close(self) -> None: ...


class NativeProvider:
    """See the module. `name_prefix` begins the names of workers that get none of their own."""

    def __init__(self, host: Host, name_prefix: str) -> None:
        self._host = host
        self._name_prefix = name_prefix
        self._worker_ids: dict[str, str] = {}  # group -> its worker, as long as the host has it
        self._capabilities: dict[str, Capabilities] = {}
        self._ended: dict[str, Unit] = {}
        self._asked: set[str] = set()  # groups that were asked to end
        self._draining: asyncio.Task[None] | None = None

    async def launch(self, specs: Sequence[LaunchSpec]) -> list[LaunchOutcome]:
        """See `Provider`. The process is forked when the host gets to it; a failure shows as a unit that has failed."""
        return [self._launch(spec) for spec in specs]

    async def observe(self) -> list[Unit]:
        """See `Provider`."""
        workers = self._host.workers()
        for group_id, worker_id in list(self._worker_ids.items()):
            unit = self._unit(group_id, worker_id, workers.get(worker_id))
            if unit.state in ENDED_UNITS:
                self._bury(unit, worker_id, is_known=worker_id in workers)
        living = [self._unit(group_id, key, workers[key]) for group_id, key in self._worker_ids.items()]
        return [*living, *self._ended.values()]

    async def terminate(self, group_ids: Sequence[str], mode: TerminateMode, grace_seconds: float) -> None:
        """See `Provider`. Draining is for all, and the host's last act; when only some shall go, they are stopped."""
        chosen = [group_id for group_id in group_ids if group_id in self._worker_ids]
        self._asked.update(chosen)
        if mode is TerminateMode.DRAIN and chosen and len(chosen) == len(self._worker_ids):
            if self._draining is None or self._draining.done():
                self._draining = asyncio.create_task(self._host.drain(grace_seconds))
            return
        for group_id in chosen:
            self._host.stop(self._worker_ids[group_id], kill=mode is TerminateMode.KILL)

    async def diagnose(self, group_id: str) -> str:
        """See `Provider`. All that is known about an end stands in the unit's reason."""
        unit = self._ended.get(group_id)
        return unit.reason if unit is not None else ""

    async def close(self) -> None:
        """End all workers, and the host."""
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.wait([self._draining])
        await self._host.close()

    def _launch(self, spec: LaunchSpec) -> LaunchOutcome:
        if spec.group_id in self._worker_ids or spec.group_id in self._ended:
            return LaunchOutcome(LaunchResult.ALREADY_EXISTS)
        worker_id = new_worker_id(spec.name or f"{self._name_prefix}|{new_id().hex()}")
        try:
            self._host.start(spec.group_id, worker_id, dict(spec.capabilities))
        except OSError as error:
            return LaunchOutcome(LaunchResult.UNAVAILABLE, f"cannot start a worker: {error}")
        self._worker_ids[spec.group_id] = worker_id
        self._capabilities[spec.group_id] = spec.capabilities
        return LaunchOutcome(LaunchResult.ACCEPTED)

    def _unit(self, group_id: str, worker_id: str, worker: HostedWorker | None) -> Unit:
        state, reason = UnitState.FAILED, "its host does not know it any more"
        if worker is not None:
            state, reason = _STATES[worker.state], worker.reason
            if worker.in_order:
                state = UnitState.GONE
        if state in _ENDING:  # also when the host has its own reasons
            self._asked.add(group_id)
        if state is UnitState.FAILED and group_id in self._asked:
            state = UnitState.GONE
        return Unit(group_id, state, reason, (worker_id,), dict(self._capabilities[group_id]))

    def _bury(self, unit: Unit, worker_id: str, *, is_known: bool) -> None:
        """Keep what is known of an ended worker; the host may forget it."""
        if is_known:
            self._host.forget(worker_id)
        del self._worker_ids[unit.group_id], self._capabilities[unit.group_id]
        self._asked.discard(unit.group_id)
        self._ended[unit.group_id] = unit
        while len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]


_ENDING = frozenset({UnitState.DRAINING, UnitState.STOPPING})
_STATES = {
    "starting": UnitState.RUNNING,
    "ready": UnitState.READY,
    "stopped": UnitState.READY,  # by SIGSTOP: the scheduler knows, and gives its tasks to others
    "draining": UnitState.DRAINING,
    "stopping": UnitState.STOPPING,
    "ended": UnitState.FAILED,
}
