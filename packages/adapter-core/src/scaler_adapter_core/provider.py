"""The whole contract between an adapter and the engine that runs its worker groups: five calls and what they answer.

A unit is a worker group as the engine has it, under the group's id (a job name, a label, a key in a table). The calls
are coroutines, because engines block: a submit to Slurm whose controller is down takes nine seconds, and the adapter
has heartbeats to send meanwhile. The adapter never makes two calls at a time.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from scaler_protocol.messages import Capabilities


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """One group to be started. Write `group_id` into the engine: `observe` must find it there after a restart."""

    group_id: str
    capabilities: Capabilities
    """What the group's workers shall offer, exactly."""
    name: str = ""
    """Goes into the worker ids; empty: the provider chooses."""


class LaunchResult(StrEnum):
    """What became of a launch; each has its own cure."""

    ACCEPTED = "accepted"
    """The engine has it, running or waiting for its place."""
    ALREADY_EXISTS = "already exists"
    """A unit of this id was there before, and no second one has been made."""
    NO_CAPACITY = "no capacity"
    """Nothing was started, later there may be room."""
    QUOTA = "quota"
    """Nothing was started, somebody's limit is reached."""
    INVALID = "invalid"
    """Nothing was started, and this group can never be."""
    UNAVAILABLE = "unavailable"
    """The engine could not be asked: nothing was started."""
    UNKNOWN = "unknown"
    """It may or may not have been started: the adapter observes before it tries again."""


@dataclass(frozen=True, slots=True)
class LaunchOutcome:
    """The answer to one `LaunchSpec`. `reason` is one line in the engine's own words."""

    result: LaunchResult
    reason: str = ""
    retry_after_seconds: float | None = None
    """When to try again, where the engine says so."""


class UnitState(StrEnum):
    """How far a unit is."""

    PENDING = "pending"
    """Accepted, waiting in the engine; `reason` says what for."""
    RUNNING = "running"
    """Its processes run; its workers are not known to be registered."""
    READY = "ready"
    """Its workers are registered with the scheduler. Providers that cannot see that leave it at RUNNING: the adapter
    is told by the scheduler."""
    DRAINING = "draining"
    """Its workers finish what they run and take nothing new: asked to, or by itself, as before its time is up."""
    STOPPING = "stopping"
    """Asked to end, and still there."""
    GONE = "gone"
    """Ended in order: it was asked to, or its time was up."""
    FAILED = "failed"
    """Ended by itself: it could not start, crashed, was killed, lost its machine."""


ENDED_UNITS = frozenset({UnitState.GONE, UnitState.FAILED})


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as the engine shows it."""

    group_id: str
    state: UnitState
    reason: str = ""
    worker_ids: tuple[str, ...] = ()
    """Known as soon as the unit is RUNNING, if the provider can tell them; the same until its end."""
    capabilities: Capabilities = field(default_factory=dict[str, int])


class TerminateMode(StrEnum):
    """How much time a unit gets."""

    DRAIN = "drain"
    """Its workers finish what they run, for up to the grace, then they end."""
    STOP = "stop"
    """Its workers end now, in order (SIGTERM), and are killed after the grace."""
    KILL = "kill"
    """At once."""


class Provider(Protocol):
    """An engine. Every call may raise `ProviderError`, or anything else: nothing is assumed to have happened then.

    A call that takes too long is cancelled; a cancelled launch counts as unknown.
    """

    async def launch(self, specs: Sequence[LaunchSpec]) -> list[LaunchOutcome]:
        """Start groups; one outcome for each, in their order. Returns when the engine has answered."""
        ...

    async def observe(self) -> list[Unit]:
        """Return all units of this adapter, those of an earlier process too, never those of somebody else.

        Ended units may be listed as long as the engine remembers them; it is how their reasons become known. A unit
        that is not listed does not exist, or not any more (see `Limits.absence_seconds`). Raise rather than return
        less than everything.
        """
        ...

    async def terminate(self, group_ids: Sequence[str], mode: TerminateMode, grace_seconds: float) -> None:
        """Ask units to end; returns when they have been asked. Ids that do not exist are passed over.

        May be repeated, and with a harder mode.
        """
        ...

    async def diagnose(self, group_id: str) -> str:
        """Return what the engine knows about the end, or the waiting, of a unit in one line; empty for nothing."""
        ...

    async def close(self) -> None:
        """Let go of the processes, threads and connections of this object. May be repeated.

        What it holds itself ends with it (native workers); units of a remote engine go on and are found again.
        """
        ...


class ProviderError(Exception):
    """The engine did not do what it was asked; one line says why."""


OnChange = Callable[[], None]
"""To be called, in the loop's thread, when `observe` would answer something new. Polled providers need not;
where they expect something soon, they may call it to be asked before the next poll."""

OpenProvider = Callable[[OnChange], Awaitable[Provider]]
"""Makes a provider, within the running loop; `ProviderError` where the engine cannot be used at all."""
