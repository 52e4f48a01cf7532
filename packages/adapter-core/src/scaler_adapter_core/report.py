"""What the scheduler is told: capacity, every group with its state and reason, and what its last command has done."""

from collections.abc import Iterator, Mapping

from scaler_adapter_core.desire import Desire
from scaler_adapter_core.events import SendReport
from scaler_adapter_core.groups import Groups
from scaler_adapter_core.model import AdapterProfile, GroupState
from scaler_adapter_core.reconcile import Hold
from scaler_protocol.messages import AdapterReport, GroupReport


class Reporter:
    """Makes reports, at every change and in the rhythm of the heartbeats. To be asked only while connected."""

    def __init__(self, profile: AdapterProfile) -> None:
        self.due_at = 0.0
        """When the next report is wanted even if nothing changes."""
        self._profile = profile
        self._last: AdapterReport | None = None

    def report(
        self, desire: Desire, groups: Groups, held: Mapping[str, Hold], now: float, *, must: bool
    ) -> list[SendReport]:
        """Return the report, if there is something new in it, it is due, or it `must` be sent."""
        report = self._build(desire, groups, held)
        if not must and now < self.due_at and report == self._last:
            return []
        self._last = report
        self.due_at = now + self._profile.heartbeat_seconds
        groups.on_told(now)
        return [SendReport(report)]

    def _build(self, desire: Desire, groups: Groups, held: Mapping[str, Hold]) -> AdapterReport:
        profile = self._profile
        return AdapterReport(
            name=profile.name,
            revision=desire.revision,
            max_worker_groups=profile.limits.max_groups if profile.constant is None else 0,
            workers_per_group=profile.workers_per_group,
            capabilities=profile.capabilities,
            groups=[*self._existing(groups), *self._missing(desire, groups, held)],
            statuses=desire.statuses(groups, held),
        )

    def _existing(self, groups: Groups) -> Iterator[GroupReport]:
        for group in groups.table.values():
            yield GroupReport(group.group_id, group.state, group.reason, list(group.worker_ids), group.capabilities)

    def _missing(self, desire: Desire, groups: Groups, held: Mapping[str, Hold]) -> Iterator[GroupReport]:
        for group_id in desire.wanted:
            if group_id in groups.table:
                continue
            hold = held.get(group_id)
            state = GroupState.REQUESTED if hold is None else GroupState.PENDING
            yield GroupReport(group_id, state, hold.reason if hold else "", [], self._profile.capabilities)
