"""What shall be, by the scheduler's commands or as a constant number. Answers with the contract's statuses."""

from collections.abc import Callable, Mapping

from scaler_adapter_core.groups import Groups
from scaler_adapter_core.model import ConstantDesire, Group, GroupState, Status, Want, describe, offers
from scaler_adapter_core.reconcile import Hold
from scaler_protocol.messages import AdapterCommand, Capabilities, GroupSpec, GroupStatus

_IS_FIXED = "the number of groups of this adapter is fixed"
_NO_ID = "a group needs an id"
_CANCELLED = "cancelled before its start"


class Desire:
    """See the module. `wanted` and `stop` are read by everyone and changed here only."""

    def __init__(self, offered: Capabilities, constant: ConstantDesire | None, mint: Callable[[], str]) -> None:
        self.wanted: dict[str, Want] = {}
        self.stop: set[str] = set()
        self.revision = 0
        """Of the last command that was carried out, within the scheduler's session."""
        self._offered = offered
        self._constant = constant
        self._mint = mint
        self._statuses: dict[str, GroupStatus] = {}
        self._asked: list[str] = []  # ids of the last command that shall exist and were not refused
        for index in range(constant.count if constant else 0):
            self._want(constant.name_of(index) if constant else "")

    def on_fresh(self) -> None:
        """A scheduler is there that knows nothing: what only the one before wanted is dropped unless it exists."""
        self.revision = 0
        self._statuses.clear()
        self._asked.clear()
        if self._constant is None:
            self.wanted.clear()

    def on_command(self, command: AdapterCommand, groups: Groups, now: float, *, refused: str = "") -> None:
        """Take in a command; one that was there before changes nothing. With `refused` nothing is started any more."""
        if command.revision <= self.revision:
            return
        self.revision = command.revision
        self._statuses.clear()
        self._asked.clear()
        groups.forget(now, named=frozenset({*(spec.group_id for spec in command.groups), *command.stop}))
        groups.on_registered(command.registered, now)
        for group_id in command.stop:
            self._on_stop(group_id, groups, now)
        for spec in command.groups:
            if spec.group_id not in self._statuses:  # what shall go does not come
                self._on_start(spec, groups, now, refused)

    def on_ended(self, group: Group) -> None:
        """A group has ended: it is not wanted any more, a constant number is filled up."""
        self.stop.discard(group.group_id)
        if self.wanted.pop(group.group_id, None) and self._constant and self._constant.restart:
            self._want(group.name)

    def on_absent(self, group_id: str, groups: Groups, now: float) -> None:
        """A group that was being launched is not there; if it shall go, that is its end."""
        if group_id in self.stop:
            self.stop.discard(group_id)
            groups.add_ended(GroupSpec(group_id, {}), GroupState.GONE, _CANCELLED, now)

    def statuses(self, groups: Groups, held: Mapping[str, Hold]) -> list[GroupStatus]:
        """Return what the last command has done so far; a group that waits for its start has no status yet."""
        result = list(self._statuses.values())
        for group_id in self._asked:
            group, hold = groups.table.get(group_id), held.get(group_id)
            if group is not None and group.worker_ids:
                result.append(GroupStatus(group_id, Status.SUCCESS, group.reason))
            elif hold is not None and hold.is_too_much:
                result.append(GroupStatus(group_id, Status.TOO_MUCH, hold.reason))
        return result

    def _on_start(self, spec: GroupSpec, groups: Groups, now: float, refused: str) -> None:
        group_id = spec.group_id
        is_known = group_id in groups.table or group_id in self.wanted
        if not group_id:
            self._answer(group_id, Status.ID_NOT_SPECIFIED, _NO_ID)
        elif not offers(self._offered, spec.capabilities):
            offered = describe(self._offered) or "no capabilities"
            reason = f"this adapter offers {offered}, not {describe(spec.capabilities)}"
            self._answer(group_id, Status.UNKNOWN_ACTION, reason)
            if not is_known:
                groups.add_ended(spec, GroupState.FAILED, reason, now)
        elif is_known:
            self._asked.append(group_id)
        elif self._constant is not None or refused:
            self._answer(group_id, Status.TOO_MUCH, refused or _IS_FIXED)
        elif groups.was_used(group_id):
            groups.add_ended(spec, GroupState.GONE, "ids of groups are used once", now)
        else:
            self.wanted[group_id] = Want(group_id)
            self._asked.append(group_id)

    def _on_stop(self, group_id: str, groups: Groups, now: float) -> None:
        group = groups.table.get(group_id)
        if not group_id:
            self._answer(group_id, Status.ID_NOT_SPECIFIED, _NO_ID)
        elif self._constant is not None and group is not None:
            self._answer(group_id, Status.UNKNOWN_ACTION, _IS_FIXED)
        elif group is not None and group.is_live:
            is_stopping = group_id in self.stop or group.asked is not None
            self._answer(group_id, Status.SHUTDOWN if is_stopping else Status.SUCCESS, group.reason)
            self.wanted.pop(group_id, None)
            self.stop.add(group_id)
        elif self.wanted.pop(group_id, None):
            self._answer(group_id, Status.SUCCESS, "")
            groups.add_ended(GroupSpec(group_id, {}), GroupState.GONE, _CANCELLED, now)
        else:
            self._answer(group_id, Status.ID_NOT_FOUND, group.reason if group else "no group of this adapter")

    def _answer(self, group_id: str, status: Status, reason: str) -> None:
        self._statuses[group_id] = GroupStatus(group_id, status, reason)

    def _want(self, name: str) -> None:
        want = Want(self._mint(), name)
        self.wanted[want.group_id] = want
