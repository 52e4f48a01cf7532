"""Nothing waits in silence: tasks without any worker make one warning that says what to do, in log and client."""

from logging import WARNING

from scaler_scheduler.core.clients import Clients
from scaler_scheduler.core.dispatch import Dispatch
from scaler_scheduler.core.lanes import Lane
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.core.state import Adapter, Outbox, State
from scaler_scheduler.policies.allocate import suits

SCALING_FLAG = '--policy-content "allocate=even_load; scaling=vanilla"'


class Waiting:
    """Watches the lanes that nobody serves."""

    def __init__(self, settings: Settings, state: State, out: Outbox, dispatch: Dispatch, clients: Clients) -> None:
        self._settings = settings
        self._state = state
        self._out = out
        self._dispatch = dispatch
        self._clients = clients
        self._warned: set[str] = set()
        self._next: float | None = None
        self._is_waiting = False  # somewhere

    @property
    def is_concerned(self) -> bool:
        """Whether tasks are ready, or were and waited."""
        return self._is_waiting or self._dispatch.lanes.clock.ready_tasks > 0

    def settle(self, now: float) -> None:
        """Warn where it is time to."""
        self._next = None
        self._is_waiting = False
        for lane in self._dispatch.lanes:
            if not lane.ready.tasks or lane.hungry.workers:
                lane.waiting_since = None
                continue
            if lane.waiting_since is None:
                lane.waiting_since = now
            self._is_waiting = True
            found = self._cause(lane)
            if found is None:
                continue
            cause, text, patience = found
            due = lane.waiting_since + patience
            if now >= due:
                self._warn(lane, cause, text)
            elif self._next is None or due < self._next:
                self._next = due

    def next_wakeup(self) -> float | None:
        """Return when a warning is due."""
        return self._next

    def _cause(self, lane: Lane) -> tuple[str, str, float] | None:
        """Return why nobody serves a lane, what to say, and for how long that may be so; None if help is on its way."""
        scalable = [adapter for adapter in self._state.adapters.values() if adapter.report.max_worker_groups]
        scales = self._settings.policies.scaling.decide is not None
        if lane.capabilities and not any(_offers(adapter, lane) for adapter in scalable if scales):
            wanted = ",".join(name if value < 0 else f"{name}={value}" for name, value in lane.capabilities.items())
            text = f"tasks wait for a worker that offers {wanted}: start one with --per-worker-capabilities {wanted}"
            return f"capabilities {wanted}", text, self._settings.no_worker_seconds
        if scalable and not scales:
            names = ", ".join(adapter.name for adapter in scalable)
            text = (
                f"tasks wait, but scaling is off: start the scheduler with {SCALING_FLAG} to have {names} start workers"
            )
            return "scaling off", text, 0.0
        if not scalable:
            text = (
                f"tasks wait, but no worker is connected to {self._settings.address}: "
                f"start `scaler_cluster {self._settings.address}` or a worker adapter"
            )
            return "no worker", text, self._settings.no_worker_seconds
        reasons = {
            f"{adapter.name}: {group.reason}"
            for adapter in scalable
            for group in adapter.groups.values()
            if group.state == "pending" and group.reason
        }
        if reasons:
            text = f"tasks wait, and no worker comes: {'; '.join(sorted(reasons))}"
            return "no worker comes", text, self._settings.no_worker_seconds
        return None

    def _warn(self, lane: Lane, cause: str, text: str) -> None:
        if cause not in self._warned:
            self._warned.add(cause)
            self._out.log(WARNING, text)
        for client in lane.ready.clients():
            self._clients.hint(client, cause, text)


def _offers(adapter: Adapter, lane: Lane) -> bool:
    return suits(adapter.report.capabilities, lane.capabilities)
