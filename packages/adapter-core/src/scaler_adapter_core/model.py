"""What an adapter wants, what it knows, and what it must not exceed. Records only.

The states of a group, as the scheduler reads them in `GroupReport.state`, are the values of `GroupState`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Final

from scaler_adapter_core.backoff import Backoff
from scaler_adapter_core.provider import TerminateMode, UnitState
from scaler_protocol.messages import Capabilities


class GroupState(StrEnum):
    """How far a group is. The last three are its end."""

    REQUESTED = "requested"
    """Wanted; being launched, or about to be."""
    PENDING = "pending"
    """Waits, in the engine or for a reason of the adapter's own: its limit, a pause after failures."""
    RUNNING = "running"
    """Its processes run, its workers are not known to be registered."""
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    GONE = "gone"
    """Ended as it was meant to, or cancelled before its start."""
    FAILED = "failed"
    """Never came up."""
    LOST = "lost"
    """Was up, and ended unasked or vanished."""


ENDED = frozenset({GroupState.GONE, GroupState.FAILED, GroupState.LOST})
COMING = frozenset({GroupState.REQUESTED, GroupState.PENDING, GroupState.RUNNING})

UP_SECONDS: Final = 30.0

STATE_OF_UNIT = {
    UnitState.PENDING: GroupState.PENDING,
    UnitState.RUNNING: GroupState.RUNNING,
    UnitState.READY: GroupState.READY,
    UnitState.DRAINING: GroupState.DRAINING,
    UnitState.STOPPING: GroupState.STOPPING,
}


class Status(StrEnum):
    """What a command did to one group."""

    SUCCESS = "Success"
    TOO_MUCH = "WorkerGroupTooMuch"
    ID_NOT_SPECIFIED = "WorkerGroupIDNotSpecified"
    ID_NOT_FOUND = "WorkerGroupIDNotFound"
    SHUTDOWN = "WorkerGroupShutdown"
    UNKNOWN_ACTION = "UnknownAction"
    """Also for capabilities that are not offered: no change of capacity would help."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the adapter keeps to, whatever is asked of it. Times are in seconds."""

    max_groups: int = -1
    """Most groups at any instant, those that start or stop included; -1: no limit."""
    poll_seconds: float | None = None
    """How often to observe; None where the provider says when something has changed."""
    registration_seconds: float | None = None
    """A group that runs this long without being ready is ended. It is ready when the provider says so, or when the
    scheduler has heard of all its workers. None: it is never ended for that, and has come up after UP_SECONDS."""
    absence_seconds: float = 0.0
    """How long a unit may be missing from observations before it counts as ended: engines are late."""
    stop_seconds: float = 3.0
    """Between asking a group to stop and its SIGKILL."""
    drain_seconds: float = 5.0
    """What groups get to finish their tasks when the adapter stops."""
    call_seconds: float = 60.0
    """The longest call to the provider."""
    launch_batch: int = 100
    """Most groups in one launch."""


@dataclass(frozen=True, slots=True)
class ConstantDesire:
    """A number of groups that are wanted from the start, instead of what a scheduler wants."""

    count: int
    restart: bool = False
    """Whether groups that end are replaced; else the adapter ends with the last."""
    names: tuple[str, ...] = ()
    """One for each group, or none at all."""

    def name_of(self, index: int) -> str:
        """Return the name that goes into the worker ids of a group."""
        return self.names[index] if self.names else ""


@dataclass(frozen=True, slots=True)
class AdapterProfile:
    """What an adapter is and keeps to. `capabilities` are what each of its workers offers."""

    name: str
    heartbeat_seconds: float
    capabilities: Capabilities = field(default_factory=dict[str, int])
    workers_per_group: int = 1
    limits: Limits = field(default_factory=Limits)
    constant: ConstantDesire | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """A group that shall exist."""

    group_id: str
    name: str = ""


@dataclass(slots=True)
class Group:
    """A group that was launched, found, or has ended."""

    group_id: str
    capabilities: Capabilities
    state: GroupState
    since: float
    """When it entered its state."""
    launched_at: float
    """When its launch was asked for, or it was found."""
    seen_at: float
    """When the engine had it last."""
    reason: str = ""
    name: str = ""
    worker_ids: list[str] = field(default_factory=list[str])
    came_up: bool = False
    """Whether it was ready once."""
    is_registered: bool = False
    """Whether the scheduler has heard of all its workers."""
    is_unknown: bool = False
    """Whether nobody knows if its launch worked; the next observation tells."""
    asked: TerminateMode | None = None
    """How it was asked to end."""
    asked_at: float = 0.0
    """When the engine took that; as long as it has not, when it was asked last."""
    unheard: int = 0
    """So many times in a row the engine did not take it."""
    doom: str = ""
    """Why the adapter itself ends it."""
    told_at: float | None = None
    """When the scheduler was told of its end."""

    @property
    def is_live(self) -> bool:
        """Whether it takes a place."""
        return self.state not in ENDED

    @property
    def leaves_by_itself(self) -> bool:
        """Whether it finishes its tasks unasked, as before the time limit of its job."""
        return self.state is GroupState.DRAINING and self.asked is None


@dataclass(frozen=True, slots=True)
class Desired:
    """What shall be. Groups that are in neither table are left alone."""

    wanted: Mapping[str, Want]
    """In the order of wanting. Never holds a group that has ended: ids are used once."""
    stop: frozenset[str]
    capabilities: Capabilities = field(default_factory=dict[str, int])
    """What launched groups shall offer."""
    stop_mode: TerminateMode = TerminateMode.STOP
    """How groups in `stop` are asked first."""
    kill_at: float = inf
    """Whatever still lives then is killed: soon after, nobody is left to do it."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is. `groups` has everything that takes a place, and more."""

    groups: Mapping[str, Group]
    backoff: Backoff
    registers_since: float = 0.0
    """Since when workers can register; infinite while the scheduler is out of reach."""


def offers(offered: Capabilities, requested: Capabilities) -> bool:
    """Whether workers that offer the one suit the other: the name, and a quantity that is enough; -1 is any."""
    return all(
        name in offered and (offered[name] == -1 or quantity <= offered[name]) for name, quantity in requested.items()
    )


def describe(capabilities: Capabilities) -> str:
    """Return them as a user writes them."""
    return ",".join(name if quantity == -1 else f"{name}={quantity}" for name, quantity in sorted(capabilities.items()))
