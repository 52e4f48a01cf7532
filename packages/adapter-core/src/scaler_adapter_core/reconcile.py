"""From what shall be and what is to what is done now: a pure function, the only place that starts or ends a group.

Absence from what is wanted ends nothing; the limit holds at every instant, counting what starts and what stops.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf

from scaler_adapter_core.backoff import Backoff, pause_after
from scaler_adapter_core.model import COMING, Desired, Group, GroupState, Limits, Observed, Want
from scaler_adapter_core.provider import LaunchSpec, TerminateMode

KILL_MARGIN_SECONDS = 1.0
"""What the engine gets beyond the grace before the adapter itself asks for SIGKILL."""
REPEAT_SECONDS = 5.0
"""Between one SIGKILL asked for and the next."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Start this group now."""

    spec: LaunchSpec


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask this group to end; `reason` is empty where that is simply wanted from outside."""

    group_id: str
    mode: TerminateMode
    grace_seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """Don't start this group yet. `is_too_much`: not even when all that stop have gone."""

    group_id: str
    reason: str
    is_too_much: bool = False


@dataclass(frozen=True, slots=True)
class Observe:
    """Look before anything is decided about this group."""

    group_id: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again then, even if nothing happens."""

    until: float


Action = Launch | Terminate | Hold | Observe | Wait


def reconcile(desired: Desired, observed: Observed, limits: Limits, now: float) -> list[Action]:
    """Return the actions that bring what is closer to what shall be. Nothing that is under way is asked for again."""
    actions: list[Action] = []
    for group in observed.groups.values():
        if group.is_live:
            actions += _settle(group, desired, observed, limits, now)
    waiting = list(_missing(desired, observed.groups))
    if waiting:
        actions += _start(waiting, desired, observed, limits, now)
    return actions


def _settle(group: Group, desired: Desired, observed: Observed, limits: Limits, now: float) -> Iterator[Action]:
    """Decide about a group that exists, or may exist."""
    if group.is_unknown:
        yield Observe(group.group_id)
    elif group.asked is not None:
        yield _insist(group, group.asked, desired.kill_at, limits, now)
    elif group.group_id in desired.stop:
        yield Terminate(group.group_id, desired.stop_mode, _grace(desired.stop_mode, limits))
    elif group.state is GroupState.RUNNING and limits.registration_seconds is not None:
        deadline = max(group.since, observed.registers_since) + limits.registration_seconds
        yield _end_unregistered(group, limits, limits.registration_seconds) if now >= deadline else Wait(deadline)


def _end_unregistered(group: Group, limits: Limits, seconds: float) -> Action:
    reason = f"no worker of it registered within {seconds:g} seconds"
    return Terminate(group.group_id, TerminateMode.STOP, limits.stop_seconds, reason)


def _insist(group: Group, asked: TerminateMode, kill_at: float, limits: Limits, now: float) -> Action:
    """Ask again a group that is still there: the same where the engine did not take it, else harder."""
    patience = {
        TerminateMode.DRAIN: limits.drain_seconds + limits.stop_seconds,
        TerminateMode.STOP: limits.stop_seconds + KILL_MARGIN_SECONDS,
        TerminateMode.KILL: REPEAT_SECONDS,
    }
    deadline = group.asked_at + (pause_after(group.unheard) if group.unheard else patience[asked])
    is_last_moment = asked is not TerminateMode.KILL and now >= kill_at
    if now < deadline and not is_last_moment:
        return Wait(deadline if asked is TerminateMode.KILL else min(deadline, kill_at))
    if group.unheard and not is_last_moment:
        return Terminate(group.group_id, asked, _grace(asked, limits), group.doom)
    return Terminate(group.group_id, TerminateMode.KILL, 0.0, f"it did not end when asked to {asked}")


def _grace(mode: TerminateMode, limits: Limits) -> float:
    graces = {TerminateMode.DRAIN: limits.drain_seconds, TerminateMode.STOP: limits.stop_seconds}
    return graces.get(mode, 0.0)


def _missing(desired: Desired, groups: Mapping[str, Group]) -> Iterator[Want]:
    return (
        want for want in desired.wanted.values() if want.group_id not in groups and want.group_id not in desired.stop
    )


def _start(waiting: list[Want], desired: Desired, observed: Observed, limits: Limits, now: float) -> Iterator[Action]:
    """Start what is missing, as far as limit and pauses allow, in the order of wanting; hold the rest."""
    live = sum(group.is_live for group in observed.groups.values())
    leaving = sum(_is_leaving(group, desired) for group in observed.groups.values())
    room = inf if limits.max_groups < 0 else max(0, limits.max_groups - live)
    pause = observed.backoff.longest
    if pause is not None and now < pause.until:
        allowed, why = 0.0, pause.text
        yield Wait(pause.until)
    else:
        allowed, why = _tries(observed.groups, observed.backoff)
    for place, want in enumerate(waiting):
        if place >= room:
            is_too_much = place >= room + leaving
            reason = f"the limit is {limits.max_groups} groups"
            yield Hold(want.group_id, reason if is_too_much else f"{reason}, {leaving} have yet to end", is_too_much)
        elif place >= allowed:
            yield Hold(want.group_id, why)
        else:
            yield Launch(LaunchSpec(want.group_id, desired.capabilities, want.name))


def _is_leaving(group: Group, desired: Desired) -> bool:
    return group.is_live and (
        group.asked is not None
        or group.group_id in desired.stop
        or group.state in {GroupState.DRAINING, GroupState.STOPPING}
    )


def _tries(groups: Mapping[str, Group], backoff: Backoff) -> tuple[float, str]:
    """Return how many may start, and why not more: after a failure one goes first."""
    trying = backoff.trying
    if trying is None:
        return inf, ""
    under_way = sum(group.state in COMING and group.launched_at > trying.failed_at for group in groups.values())
    why = f"one group is tried first: {trying.cause}"
    return max(0, 1 - under_way), f"{why}: {trying.reason}" if trying.reason else why
