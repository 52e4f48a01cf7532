"""What adapters say of their groups, and the desired state they are sent. Which are wanted, `scaling` decides."""

from logging import INFO, WARNING

from scaler_protocol import messages as m
from scaler_runtime.core import Peer
from scaler_scheduler.core.clients import Clients
from scaler_scheduler.core.dispatch import Dispatch
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.core.state import Adapter, Full, Group, Outbox, State, Worker
from scaler_scheduler.policies.snapshot import NO_LIMIT

GONE = frozenset({"gone", "failed", "lost"})
"""States in which a group does not exist any more."""

LEAVING = frozenset({"draining", "stopping"})
"""States of a group on its way out. States that are in neither of both, known or not, leave it as it is."""

REFUSALS = frozenset({"WorkerGroupTooMuch", "UnknownAction"})
"""Statuses that say that there will be no such group. All others are information."""

NEWS_SECONDS = 0.25
"""How long it may take to tell an adapter that groups have registered: many of them go into one command."""


class Adapters:
    """The scheduler's conversation with adapters."""

    def __init__(self, settings: Settings, state: State, out: Outbox, dispatch: Dispatch, clients: Clients) -> None:
        self._settings = settings
        self._state = state
        self._out = out
        self._dispatch = dispatch
        self._clients = clients
        self._minted = 0
        self._draining: dict[str, tuple[Adapter, Group]] = {}
        self._news_due: float | None = None
        self.is_concerned = False

    def on_hello(self, group_id: str, now: float) -> None:
        """A worker has come; when all of its group have, the group's adapter is told."""
        adapter = self._state.owners.get(group_id)
        if adapter is not None:
            self._note_registered(adapter, adapter.groups[group_id], now)

    def on_report(self, peer: Peer, report: m.AdapterReport, now: float) -> None:
        """Take in capacity and groups; groups that the scheduler does not know are adopted."""
        self.is_concerned = True
        adapter = self._state.adapters.get(peer)
        if adapter is None:
            adapter = self._state.adapters[peer] = Adapter(peer, report.name, report)
            capacity = "no limit" if report.max_worker_groups == NO_LIMIT else report.max_worker_groups
            self._out.log(INFO, f"adapter {report.name} joined: capacity {capacity}, {len(report.groups)} groups")
        adapter.report = report
        refused = [status for status in report.statuses if self._is_refusal(adapter, status)]
        present = {entry.group_id for entry in report.groups}
        for group in list(adapter.groups.values()):
            if group.group_id not in present and group.since_revision <= report.revision:
                self._gone(adapter, group, "lost", "its adapter does not report it any more")
        for entry in report.groups:
            self._on_group(adapter, entry, now)
        adapter.ended = {entry.group_id for entry in report.groups if entry.state in GONE}
        adapter.known_tally = None
        full = adapter.full
        if refused:
            adapter.full = Full(report.max_worker_groups, adapter.places_taken)
        elif full is not None and (full.capacity != report.max_worker_groups or adapter.places_taken < full.groups):
            adapter.full = None

    def leave(self, adapter: Adapter, reason: str) -> None:
        """An adapter that is silent or gone is not scaled any more; its workers go on, those that drained too."""
        del self._state.adapters[adapter.peer]
        for group in adapter.groups.values():
            del self._state.owners[group.group_id]
            self._draining.pop(group.group_id, None)
            if group.leaving:
                self._undrain_workers(group)
        left = f"; {len(adapter.groups)} groups are left to themselves" if adapter.groups else ""
        self._out.log(WARNING if adapter.groups else INFO, f"adapter {adapter.name} is gone: {reason}{left}")

    def grow(self, adapter: Adapter, count: int, reason: str) -> None:
        """Want `count` more groups: those that still drain go on, others are asked for."""
        returning = [group for group in adapter.groups.values() if group.can_return][:count]
        for group in returning:
            self._take_back(adapter, group, reason)
        if count > len(returning):
            self._add_groups(adapter, count - len(returning), reason)

    def _take_back(self, adapter: Adapter, group: Group, reason: str) -> None:
        """Let a group take part again whose workers were finishing what they ran; its adapter never knew."""
        group.draining = False
        group.reason = ""
        adapter.known_tally = None
        del self._draining[group.group_id]
        self._undrain_workers(group)
        self._out.log(INFO, f"worker group {group.group_id} of {adapter.name} goes on instead of draining: {reason}")

    def _add_groups(self, adapter: Adapter, count: int, reason: str) -> None:
        for _ in range(count):
            self._minted += 1
            group_id = f"{self._settings.id_prefix}-{self._minted}"
            adapter.groups[group_id] = Group(group_id, adapter.report.capabilities, adapter.revision + 1)
            self._state.owners[group_id] = adapter
        adapter.changed = self.is_concerned = True
        adapter.known_tally = None
        self._out.log(INFO, f"asking {adapter.name} for {count} more worker groups: {reason}")

    def drain(self, adapter: Adapter, group: Group, reason: str) -> None:
        """Give a group's workers nothing new; once they are empty, the adapter is asked to end it."""
        group.reason = reason
        self._drain(adapter, group)
        self._out.log(INFO, f"draining worker group {group.group_id} of {adapter.name}: {reason}")

    def workers_of(self, group: Group) -> list[Worker]:
        """Return the group's workers that are connected."""
        return list(self._state.members.get(group.group_id, {}).values())

    def next_wakeup(self) -> float | None:
        """Return when adapters are to be told that groups have registered."""
        return self._news_due

    def settle(self, now: float) -> None:
        """Stop drained groups and send every adapter its desired state, if that has changed."""
        empty = [pair for pair in self._draining.values() if self._is_empty(pair[1])]
        for adapter, group in empty:
            del self._draining[group.group_id]
            group.stopping = True
            adapter.changed = True
            adapter.known_tally = None
        is_news_due = self._news_due is not None and now >= self._news_due
        if is_news_due:
            self._news_due = None
        for adapter in self._state.adapters.values():
            if adapter.changed or (is_news_due and adapter.has_news and adapter.report.max_worker_groups):
                self._command(adapter)
        self.is_concerned = bool(self._draining) or self._news_due is not None

    def _is_empty(self, group: Group) -> bool:
        return all(self._state.is_empty(worker.worker_id) for worker in self.workers_of(group))

    def _drain(self, adapter: Adapter, group: Group) -> None:
        group.draining = self.is_concerned = True
        adapter.known_tally = None
        self._draining[group.group_id] = adapter, group
        self._drain_workers(group)

    def _drain_workers(self, group: Group) -> None:
        for worker in self.workers_of(group):
            if not worker.draining:
                self._dispatch.holdings.drain(worker)

    def _undrain_workers(self, group: Group) -> None:
        """Let the group's workers take part again, but for those whose host is about to end."""
        for worker in self.workers_of(group):
            host = self._state.hosts.get(worker.host)
            if host is None or worker.worker_id not in host.draining:
                self._dispatch.holdings.undrain(worker)

    def _note_registered(self, adapter: Adapter, group: Group, now: float) -> None:
        if group.registered or len(self.workers_of(group)) < max(1, adapter.report.workers_per_group):
            return
        group.registered = adapter.has_news = True
        is_scaled = self._settings.policies.scaling.decide is not None and adapter.report.max_worker_groups
        if self._news_due is None and is_scaled:
            self._news_due = now + NEWS_SECONDS
            self.is_concerned = True

    def _command(self, adapter: Adapter) -> None:
        adapter.changed = adapter.has_news = False
        adapter.revision += 1
        self._out.send(
            adapter.peer,
            m.AdapterCommand(
                revision=adapter.revision,
                groups=[m.GroupSpec(g.group_id, g.capabilities) for g in adapter.groups.values() if not g.stopping],
                stop=[g.group_id for g in adapter.groups.values() if g.stopping],
                registered=[g.group_id for g in adapter.groups.values() if g.registered and not g.stopping],
            ),
        )

    def _on_group(self, adapter: Adapter, entry: m.GroupReport, now: float) -> None:
        group = adapter.groups.get(entry.group_id)
        if group is None:
            if entry.state in GONE:
                if entry.state == "failed" and entry.group_id not in adapter.ended:  # of a constant number
                    self._warn(adapter, _ended(adapter, entry.group_id, entry.state, entry.reason))
                return
            group = self._adopt(adapter, entry)
        before, group.state = group.state, entry.state
        if entry.state in GONE:
            self._gone(adapter, group, entry.state, entry.reason)
            return
        self._note_registered(adapter, group, now)
        if entry.state in LEAVING and not group.stopping:
            self._out.log(INFO, f"worker group {group.group_id} of {adapter.name} is {entry.state}: {entry.reason}")
            group.is_given_up = not group.draining
            group.stopping = True
            self._draining.pop(group.group_id, None)
            self._drain_workers(group)
        news = (before, group.reason) != (entry.state, entry.reason)
        group.reason = entry.reason or group.reason
        if news and entry.state == "pending" and entry.reason:
            self._out.log(WARNING, f"worker group {group.group_id} of {adapter.name} is pending: {entry.reason}")

    def _adopt(self, adapter: Adapter, entry: m.GroupReport) -> Group:
        """Take in a group that this adapter has not been asked for: it was another's, or another scheduler's."""
        group = Group(entry.group_id, entry.capabilities)
        other = self._state.owners.get(entry.group_id)
        if other is not None:
            former = other.groups.pop(entry.group_id)
            other.known_tally = None
            group.draining, group.stopping = former.draining, former.stopping
        adapter.groups[entry.group_id] = group
        self._state.owners[entry.group_id] = adapter
        adapter.changed |= group.stopping
        if group.draining and not group.stopping:
            self._drain(adapter, group)
        return group

    def _gone(self, adapter: Adapter, group: Group, state: str, reason: str) -> None:
        del adapter.groups[group.group_id]
        del self._state.owners[group.group_id]
        self._draining.pop(group.group_id, None)
        text = _ended(adapter, group.group_id, state, reason)
        if state == "failed" and (not group.leaving or group.is_given_up):
            self._warn(adapter, text)
        else:  # one that was up is replaced as the tasks need it
            self._out.log(WARNING if state == "lost" and not group.leaving else INFO, text)

    def _warn(self, adapter: Adapter, text: str) -> None:
        self._out.log(WARNING, text)
        if not self._state.workers:
            self._clients.hint_waiting(f"worker groups fail: {adapter.name}", f"no worker can run your tasks: {text}")

    def _is_refusal(self, adapter: Adapter, status: m.GroupStatus) -> bool:
        """Call off a group that is refused; no other is asked for until the adapter has more room."""
        group = adapter.groups.get(status.group_id)
        if status.status not in REFUSALS or group is None or group.leaving:
            return False
        self._out.log(WARNING, f"{adapter.name} refused {status.group_id}: {status.status} {status.reason}")
        group.stopping = group.is_refused = True
        adapter.changed = True
        return True


def _ended(adapter: Adapter, group_id: str, state: str, reason: str) -> str:
    return f"worker group {group_id} of {adapter.name} is {state}: {reason}"
