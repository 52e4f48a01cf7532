"""What every provider must do, as checks for any test runner: `await run_check(check, subject)` for each of CHECKS.

A check raises `ConformanceError` with one line. Each gets a provider of its own and leaves nothing running.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from scaler_adapter_core.provider import (
    ENDED_UNITS,
    LaunchOutcome,
    LaunchResult,
    LaunchSpec,
    OpenProvider,
    Provider,
    TerminateMode,
    Unit,
    UnitState,
)
from scaler_protocol.identifiers import new_id
from scaler_protocol.messages import Capabilities

_POLL_SECONDS = 0.02
_GRACE_SECONDS = 2.0
_T = TypeVar("_T")


class ConformanceError(AssertionError):
    """The provider does not keep the contract."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The provider under test."""

    open_provider: OpenProvider
    capabilities: Capabilities = field(default_factory=dict[str, int])
    """What its groups can offer."""
    up_states: frozenset[UnitState] = frozenset({UnitState.READY})
    """The states of a unit that has come up; {RUNNING} for a provider that cannot tell readiness, both for some."""
    wait_seconds: float = 30.0
    """How long the engine may take for anything."""
    says_changes: bool = False
    """Whether the provider calls `on_change`."""
    registered: Callable[[], Mapping[str, str]] | None = None
    """The scheduler's side: the group named in the registration of each worker, by worker id. None: nobody listens."""


class Bench:
    """A provider on trial, with what checks do again and again."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.provider: Provider
        self.changes = 0

    async def open(self) -> None:
        """Make the provider."""
        self.provider = await self.subject.open_provider(self.on_change)

    def on_change(self) -> None:
        """Count what the provider says."""
        self.changes += 1

    def specs(self, count: int) -> list[LaunchSpec]:
        """Return specs with fresh ids."""
        return [LaunchSpec(new_id().hex(), dict(self.subject.capabilities)) for _ in range(count)]

    async def launch(self, count: int) -> list[LaunchSpec]:
        """Launch groups; all must be accepted."""
        specs = self.specs(count)
        expect_results(await self.provider.launch(specs), [LaunchResult.ACCEPTED] * count)
        return specs

    async def live(self) -> dict[str, Unit]:
        """Return what lives, by id."""
        units = [unit for unit in await self.provider.observe() if unit.state not in ENDED_UNITS]
        live = {unit.group_id: unit for unit in units}
        expect(len(live) == len(units), "one group is shown as several units")
        return live

    async def wait_up(self, specs: Sequence[LaunchSpec]) -> dict[str, Unit]:
        """Wait until all have come up."""
        wanted = {spec.group_id for spec in specs}

        async def is_up() -> dict[str, Unit] | None:
            units = {unit.group_id: unit for unit in await self.provider.observe()}
            for group_id in wanted & units.keys():
                unit = units[group_id]
                expect(unit.state not in ENDED_UNITS, f"group {group_id} is {unit.state}: {unit.reason}")
            up = {key: unit for key, unit in units.items() if unit.state in self.subject.up_states}
            return up if wanted <= up.keys() else None

        return await self._wait(is_up, f"{len(wanted)} groups have not come up")

    async def wait_registered(self, unit: Unit) -> None:
        """Wait until the scheduler has heard of all workers of a unit."""
        registered = self.subject.registered

        async def has_registered() -> bool | None:
            groups: Mapping[str, str] = {} if registered is None else registered()
            heard = [groups[worker_id] for worker_id in unit.worker_ids if worker_id in groups]
            expect(set(heard) <= {unit.group_id}, f"workers of group {unit.group_id} say that they are of {heard}")
            return True if len(heard) == len(unit.worker_ids) else None

        await self._wait(has_registered, f"workers shown for group {unit.group_id} have not registered as such")

    async def wait_ended(self, specs: Sequence[LaunchSpec]) -> None:
        """Wait until none of them lives."""
        wanted = {spec.group_id for spec in specs}

        async def has_ended() -> bool | None:
            return None if wanted & (await self.live()).keys() else True

        await self._wait(has_ended, f"{len(wanted)} groups asked to end have not ended")

    async def wait_changed(self, before: int) -> None:
        """Wait until the provider says that something has changed."""

        async def has_changed() -> bool | None:
            return True if self.changes > before else None

        await self._wait(has_changed, "on_change was not called")

    async def close(self) -> None:
        """End all units, then the provider."""
        await self.provider.terminate([*(await self.live())], TerminateMode.KILL, 0.0)
        await self._wait(self._is_empty, "what was killed has not ended")
        await self.provider.close()

    async def _is_empty(self) -> bool | None:
        return None if await self.live() else True

    async def _wait(self, reached: Callable[[], Awaitable[_T | None]], what: str) -> _T:
        deadline = time.monotonic() + self.subject.wait_seconds
        while True:
            answer = await reached()
            if answer is not None:
                return answer
            expect(time.monotonic() < deadline, f"{what} within {self.subject.wait_seconds:g} seconds")
            await asyncio.sleep(_POLL_SECONDS)


Check = Callable[[Bench], Awaitable[None]]


async def run_check(check: Check, subject: Subject) -> None:
    """Run one check with a provider of its own; `ConformanceError` says what is wrong."""
    bench = Bench(subject)
    await bench.open()
    try:
        await check(bench)
    finally:
        await bench.close()


def expect(is_true: bool, what: str) -> None:
    """Raise `ConformanceError` unless it is true."""
    if not is_true:
        raise ConformanceError(what)


def expect_results(outcomes: Sequence[LaunchOutcome], results: Sequence[LaunchResult]) -> None:
    """Raise `ConformanceError` unless the outcomes are these."""
    got = [outcome.result for outcome in outcomes]
    reasons = "; ".join(outcome.reason for outcome in outcomes if outcome.reason)
    expect(got == list(results), f"expected {', '.join(results)}, got {', '.join(got)} {reasons}")


# ---- launch and observe


async def starts_with_nothing_of_others(bench: Bench) -> None:
    """A provider that has launched nothing shows nothing that lives."""
    expect(not await bench.live(), "there are units that this adapter has not started")


async def launches_nothing_for_no_specs(bench: Bench) -> None:
    """No specs, no outcomes."""
    expect(await bench.provider.launch([]) == [], "outcomes without specs")
    expect(not await bench.live(), "units without specs")


async def shows_what_it_launched(bench: Bench) -> None:
    """A launched group is there at once, under its id, and comes up with its workers and capabilities."""
    specs = await bench.launch(1)
    expect(set(await bench.live()) == {specs[0].group_id}, "a launched group is not observed under its id")
    unit = (await bench.wait_up(specs))[specs[0].group_id]
    expect(len(unit.worker_ids) > 0, "a group that has come up has no worker ids")
    expect(unit.capabilities == bench.subject.capabilities, f"it offers {unit.capabilities}")


async def registers_what_it_shows(bench: Bench) -> None:
    """The workers shown for a group are those that register, and they name their group."""
    if bench.subject.registered is None:
        return
    specs = await bench.launch(2)
    for unit in [(await bench.wait_up(specs))[spec.group_id] for spec in specs]:
        await bench.wait_registered(unit)


async def answers_each_spec_in_order(bench: Bench) -> None:
    """Several groups in one call get as many outcomes, and do not share workers."""
    specs = await bench.launch(3)
    units = await bench.wait_up(specs)
    worker_ids = [worker_id for spec in specs for worker_id in units[spec.group_id].worker_ids]
    expect(len(worker_ids) == len(set(worker_ids)), "two groups have one worker")


async def knows_an_id_again(bench: Bench) -> None:
    """A second launch of an id starts nothing; in one call the others are not held up by it."""
    first = await bench.launch(1)
    other = bench.specs(1)
    outcomes = await bench.provider.launch([*first, *other])
    expect_results(outcomes, [LaunchResult.ALREADY_EXISTS, LaunchResult.ACCEPTED])
    expect(len(await bench.live()) == len(first) + len(other), "launching an id twice changed the number of groups")


async def names_workers_as_asked(bench: Bench) -> None:
    """The name of a spec is the name in its workers' ids."""
    spec = LaunchSpec(new_id().hex(), dict(bench.subject.capabilities), "alice")
    expect_results(await bench.provider.launch([spec]), [LaunchResult.ACCEPTED])
    for worker_id in (await bench.wait_up([spec]))[spec.group_id].worker_ids:
        expect(worker_id.startswith("Worker|alice|"), f"the worker id {worker_id} is not Worker|alice|...")


async def keeps_worker_ids(bench: Bench) -> None:
    """A unit's workers are the same in every observation."""
    specs = await bench.launch(1)
    group_id = specs[0].group_id
    first = (await bench.wait_up(specs))[group_id].worker_ids
    expect((await bench.live())[group_id].worker_ids == first, "the worker ids of a group have changed")


async def says_changes(bench: Bench) -> None:
    """Where the provider is not polled, it says when a group has come up, and when it has ended."""
    if not bench.subject.says_changes:
        return
    specs = await bench.launch(1)
    await bench.wait_changed(0)
    await bench.wait_up(specs)
    before = bench.changes
    await bench.provider.terminate([specs[0].group_id], TerminateMode.STOP, _GRACE_SECONDS)
    await bench.wait_changed(before)
    await bench.wait_ended(specs)


async def survives_a_cancelled_launch(bench: Bench) -> None:
    """A launch that is cut off may have started its group or not: observing tells, and it can be tried again."""
    specs = bench.specs(1)
    task = asyncio.ensure_future(bench.provider.launch(specs))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    outcomes = await bench.provider.launch(specs)
    expect(outcomes[0].result in {LaunchResult.ACCEPTED, LaunchResult.ALREADY_EXISTS}, f"got {outcomes[0].result}")
    await bench.wait_up(specs)
    expect(len(await bench.live()) == 1, "a launch that was cut off and repeated has left two groups")


# ---- terminate


async def ends_what_it_is_asked_to(bench: Bench) -> None:
    """A stopped group ends within the grace and a little; the others go on."""
    specs = await bench.launch(2)
    await bench.wait_up(specs)
    await bench.provider.terminate([specs[0].group_id], TerminateMode.STOP, _GRACE_SECONDS)
    await bench.wait_ended(specs[:1])
    expect(set(await bench.live()) == {specs[1].group_id}, "another group than the one asked to end has ended")


async def ends_in_order_what_was_stopped(bench: Bench) -> None:
    """A group that was stopped has not failed."""
    specs = await bench.launch(1)
    await bench.wait_up(specs)
    await bench.provider.terminate([specs[0].group_id], TerminateMode.STOP, _GRACE_SECONDS)
    await bench.wait_ended(specs)
    states = {unit.state for unit in await bench.provider.observe() if unit.group_id == specs[0].group_id}
    expect(states <= {UnitState.GONE}, "a group that was stopped is shown as failed")


async def drains(bench: Bench) -> None:
    """A drained group without tasks ends, at the latest after the grace."""
    specs = await bench.launch(2)
    await bench.wait_up(specs)
    await bench.provider.terminate([spec.group_id for spec in specs], TerminateMode.DRAIN, _GRACE_SECONDS)
    await bench.wait_ended(specs)


async def kills(bench: Bench) -> None:
    """Killing works on a group that was asked to stop before."""
    specs = await bench.launch(1)
    await bench.wait_up(specs)
    await bench.provider.terminate([specs[0].group_id], TerminateMode.STOP, _GRACE_SECONDS)
    await bench.provider.terminate([specs[0].group_id], TerminateMode.KILL, 0.0)
    await bench.wait_ended(specs)


async def ends_what_is_still_starting(bench: Bench) -> None:
    """A group may be stopped before it has come up."""
    specs = await bench.launch(1)
    await bench.provider.terminate([specs[0].group_id], TerminateMode.STOP, _GRACE_SECONDS)
    await bench.wait_ended(specs)


async def passes_over_unknown_ids(bench: Bench) -> None:
    """Ids that do not exist change nothing, for none of the modes."""
    specs = await bench.launch(1)
    await bench.wait_up(specs)
    for mode in TerminateMode:
        await bench.provider.terminate([new_id().hex(), new_id().hex()], mode, _GRACE_SECONDS)
        await bench.provider.terminate([], mode, _GRACE_SECONDS)
    expect(set(await bench.live()) == {specs[0].group_id}, "terminating ids that do not exist has changed something")


async def ends_twice(bench: Bench) -> None:
    """Asking again what has ended is no error."""
    specs = await bench.launch(1)
    await bench.wait_up(specs)
    for _ in range(2):
        await bench.provider.terminate([specs[0].group_id], TerminateMode.STOP, _GRACE_SECONDS)
        await bench.wait_ended(specs)


# ---- diagnose and close


async def diagnoses_in_one_line(bench: Bench) -> None:
    """One line, or nothing, for a group that lives, one that has ended and one that never was."""
    specs = await bench.launch(1)
    await bench.wait_up(specs)
    texts = [await bench.provider.diagnose(specs[0].group_id), await bench.provider.diagnose(new_id().hex())]
    await bench.provider.terminate([specs[0].group_id], TerminateMode.KILL, 0.0)
    await bench.wait_ended(specs)
    texts.append(await bench.provider.diagnose(specs[0].group_id))
    expect(all(len(text.splitlines()) <= 1 for text in texts), "a diagnosis has several lines")


async def closes_twice(bench: Bench) -> None:
    """Closing is possible again, and the next provider is not disturbed by it."""
    await bench.launch(1)
    await bench.close()
    await bench.provider.close()
    await bench.open()
    expect(not await bench.live(), "a provider that was closed has left units that live")


CHECKS: tuple[Check, ...] = (
    starts_with_nothing_of_others,
    launches_nothing_for_no_specs,
    shows_what_it_launched,
    registers_what_it_shows,
    answers_each_spec_in_order,
    knows_an_id_again,
    names_workers_as_asked,
    keeps_worker_ids,
    says_changes,
    survives_a_cancelled_launch,
    ends_what_it_is_asked_to,
    ends_in_order_what_was_stopped,
    drains,
    kills,
    ends_what_is_still_starting,
    passes_over_unknown_ids,
    ends_twice,
    diagnoses_in_one_line,
    closes_twice,
)
