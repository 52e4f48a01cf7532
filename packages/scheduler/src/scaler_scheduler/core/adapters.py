"""What adapters say of their groups, and the desired state they are sent. Which are wanted, `scaling` decides."""

from logging import INFO, WARNING

from scaler_protocol import messages as m
from scaler_runtime.core import Peer
from scaler_scheduler.core.clients import Clients
from scaler_scheduler.core.dispatch import Dispatch
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.core.state import Adapter, Group, Outbox, State
from scaler_scheduler.policies.snapshot import NO_LIMIT

GONE = frozenset({"gone", "lost"})
"""States in which a group does not exist any more."""

NOT_YET_READY = frozenset({"requested", "pending", "running"})

TOO_MUCH = "WorkerGroupTooMuch"
_REFUSED = frozenset({TOO_MUCH, "UnknownAction"})


class Adapters:
    """The scheduler's conversation with adapters."""

    def __init__(self, settings: Settings, state: State, out: Outbox, dispatch: Dispatch, clients: Clients) -> None:
        self._settings = settings
        self._state = state
        self._out = out
        self._dispatch = dispatch
        self._clients = clients
        self._minted = 0

    def on_report(self, peer: Peer, report: m.AdapterReport) -> None:
        """Take in capacity and groups; groups that the scheduler does not know are adopted."""
        adapter = self._state.adapters.get(peer)
        if adapter is None:
            adapter = self._state.adapters[peer] = Adapter(peer, report.name, report)
            capacity = "no limit" if report.max_worker_groups == NO_LIMIT else report.max_worker_groups
            self._out.log(INFO, f"adapter {report.name} joined: capacity {capacity}, {len(report.groups)} groups")
        adapter.report = report
        if adapter.full_at is not None and adapter.full_at != report.max_worker_groups:
            adapter.full_at = None
        present = {entry.group_id for entry in report.groups}
        for group in list(adapter.groups.values()):
            if group.group_id not in present and group.since_revision <= report.revision:
                self._gone(adapter, group, "no longer reported")
        for entry in report.groups:
            self._on_group(adapter, entry)
        for status in report.statuses:
            self._on_status(adapter, status)

    def leave(self, adapter: Adapter, reason: str) -> None:
        """An adapter that is silent or gone is not scaled any more; its workers go on."""
        del self._state.adapters[adapter.peer]
        self._out.log(
            WARNING, f"adapter {adapter.name} is gone: {reason}; {len(adapter.groups)} groups are left to themselves"
        )

    def add_groups(self, adapter: Adapter, count: int, reason: str) -> None:
        """Want `count` more groups."""
        for _ in range(count):
            self._minted += 1
            group_id = f"{self._settings.id_prefix}-{self._minted}"
            adapter.groups[group_id] = Group(group_id, adapter.report.capabilities, adapter.revision + 1)
        adapter.changed = True
        self._out.log(INFO, f"asking {adapter.name} for {count} more worker groups: {reason}")

    def drain(self, adapter: Adapter, group: Group, reason: str) -> None:
        """Give a group's workers nothing new; once they are empty, the adapter is asked to end it."""
        group.draining = True
        group.reason = reason
        for worker_id in self.workers_of(group):
            self._dispatch.drain(self._state.workers[worker_id])
        self._out.log(INFO, f"draining worker group {group.group_id} of {adapter.name}: {reason}")

    def workers_of(self, group: Group) -> list[str]:
        """Return the ids of the group's workers that are connected."""
        return [
            worker_id
            for worker_id in group.worker_ids
            if worker_id in self._state.workers and self._state.workers[worker_id].group_id == group.group_id
        ]

    def settle(self) -> None:
        """Stop drained groups and send every adapter its desired state, if that has changed."""
        for adapter in self._state.adapters.values():
            for group in adapter.groups.values():
                if group.draining and not group.stopping and self._is_empty(group):
                    group.stopping = True
                    adapter.changed = True
            if adapter.changed:
                self._command(adapter)

    def _command(self, adapter: Adapter) -> None:
        adapter.changed = False
        adapter.revision += 1
        self._out.send(
            adapter.peer,
            m.AdapterCommand(
                revision=adapter.revision,
                groups=[m.GroupSpec(g.group_id, g.capabilities) for g in adapter.groups.values() if not g.stopping],
                stop=[g.group_id for g in adapter.groups.values() if g.stopping],
            ),
        )

    def _on_group(self, adapter: Adapter, entry: m.GroupReport) -> None:
        group = adapter.groups.get(entry.group_id)
        if group is None:
            if entry.state in GONE or entry.state == "stopping":
                return
            group = adapter.groups[entry.group_id] = Group(entry.group_id, entry.capabilities)
        before, group.state = group.state, entry.state
        group.worker_ids = entry.worker_ids
        if entry.state in GONE:
            self._gone(adapter, group, entry.reason)
        elif before != entry.state or group.reason != entry.reason:
            group.reason = entry.reason or group.reason
            if entry.state == "pending" and entry.reason:
                self._warn_of_failure(adapter, group)

    def _gone(self, adapter: Adapter, group: Group, reason: str) -> None:
        del adapter.groups[group.group_id]
        if group.stopping:
            self._out.log(INFO, f"worker group {group.group_id} of {adapter.name} has ended")
            return
        group.reason = reason
        self._warn_of_failure(adapter, group)

    def _warn_of_failure(self, adapter: Adapter, group: Group) -> None:
        text = f"worker group {group.group_id} of {adapter.name} is {group.state}: {group.reason}"
        self._out.log(WARNING, text)
        if not self._state.workers:
            self._clients.hint_waiting(f"worker groups fail: {adapter.name}", f"no worker can run your tasks: {text}")

    def _on_status(self, adapter: Adapter, status: m.GroupStatus) -> None:
        if status.status not in _REFUSED:
            return
        group = adapter.groups.pop(status.group_id, None)
        if group is not None:
            self._out.log(WARNING, f"{adapter.name} refused {status.group_id}: {status.status} {status.reason}")
            adapter.changed = True
        if status.status == TOO_MUCH:
            adapter.full_at = adapter.report.max_worker_groups

    def _is_empty(self, group: Group) -> bool:
        return all(not self._state.workers[worker_id].slices for worker_id in self.workers_of(group))
