"""The fake provider keeps the contract; providers that break it are found out."""

import asyncio

import pytest

from scaler_adapter_core import conformance
from scaler_adapter_core.conformance import CHECKS, ConformanceError, Subject, run_check
from scaler_adapter_core.fake import FakeEngine, FakeProvider
from scaler_adapter_core.provider import LaunchOutcome, LaunchResult, ProviderError, Unit, UnitState


def subject(provider_class=FakeProvider, **arguments):
    async def open_provider(on_change):
        return provider_class(FakeEngine(), on_change)

    return Subject(open_provider, {"gpu": 2}, **{"wait_seconds": 0.05, **arguments})


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_fake_provider_conforms(check):
    asyncio.run(run_check(check, subject()))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_an_engine_that_does_not_see_readiness_conforms(check):
    engine = FakeEngine(sees_readiness=False)

    async def open_provider(on_change):
        return FakeProvider(engine, on_change)

    def registered():
        return {worker_id: unit.group_id for unit in engine.units.values() for worker_id in unit.worker_ids}

    up_states = frozenset({UnitState.RUNNING})
    one = Subject(open_provider, {"gpu": 2}, up_states=up_states, wait_seconds=0.05, registered=registered)
    asyncio.run(run_check(check, one))


@pytest.mark.parametrize("heard", [{}, {"Worker|fake|": "another group"}])
def test_workers_that_register_otherwise_than_shown_are_found_out(heard):
    class _Other(FakeProvider):
        async def observe(self):
            return [
                Unit(unit.group_id, unit.state, "", tuple(heard) or ("w",), unit.capabilities)
                for unit in await super().observe()
            ]

    with pytest.raises(ConformanceError, match=r"register|say that they are"):
        asyncio.run(run_check(conformance.registers_what_it_shows, subject(_Other, registered=lambda: heard)))


class _ForgetsIds(FakeProvider):
    async def launch(self, specs):
        for spec in specs:
            self.engine.units.pop(spec.group_id, None)
        return await super().launch(specs)


class _LosesOutcomes(FakeProvider):
    async def launch(self, specs):
        return (await super().launch(specs))[:1]


class _HidesUnits(FakeProvider):
    async def observe(self):
        return [unit for unit in await super().observe() if unit.state is not UnitState.READY]


class _OffersNothing(FakeProvider):
    async def observe(self):
        return [Unit(unit.group_id, unit.state, "", unit.worker_ids) for unit in await super().observe()]


class _SharesWorkers(FakeProvider):
    async def observe(self):
        return [Unit(unit.group_id, unit.state, "", ("w",), unit.capabilities) for unit in await super().observe()]


class _MindsUnknownIds(FakeProvider):
    async def terminate(self, group_ids, mode, grace_seconds):
        for group_id in group_ids:
            if group_id not in self.engine.units:
                raise ProviderError(f"no such unit: {group_id}")
        await super().terminate(group_ids, mode, grace_seconds)


class _EndsEverything(FakeProvider):
    async def terminate(self, group_ids, mode, grace_seconds):
        await super().terminate(list(self.engine.units), mode, grace_seconds)


class _Deaf(FakeProvider):
    async def terminate(self, group_ids, mode, grace_seconds):
        if mode != "stop":
            await super().terminate(group_ids, mode, grace_seconds)


class _TellsStories(FakeProvider):
    async def diagnose(self, group_id):
        return "once\nupon\na time"


class _Refuses(FakeProvider):
    async def launch(self, specs):
        return [LaunchOutcome(LaunchResult.QUOTA, "not today") for _ in specs]


class _FailsStopped(FakeProvider):
    async def observe(self):
        return [
            Unit(unit.group_id, UnitState.FAILED if unit.state is UnitState.GONE else unit.state, "", unit.worker_ids)
            for unit in await super().observe()
        ]


@pytest.mark.parametrize(
    ("provider_class", "check"),
    [
        (_ForgetsIds, conformance.knows_an_id_again),
        (_LosesOutcomes, conformance.answers_each_spec_in_order),
        (_HidesUnits, conformance.shows_what_it_launched),
        (_OffersNothing, conformance.shows_what_it_launched),
        (_SharesWorkers, conformance.answers_each_spec_in_order),
        (_SharesWorkers, conformance.names_workers_as_asked),
        (_EndsEverything, conformance.ends_what_it_is_asked_to),
        (_Deaf, conformance.ends_what_it_is_asked_to),
        (_TellsStories, conformance.diagnoses_in_one_line),
        (_Refuses, conformance.shows_what_it_launched),
        (_FailsStopped, conformance.ends_in_order_what_was_stopped),
    ],
    ids=lambda value: value.__name__,
)
def test_a_provider_that_breaks_the_contract_is_found_out(provider_class, check):
    with pytest.raises(ConformanceError):
        asyncio.run(run_check(check, subject(provider_class)))


def test_a_provider_that_minds_unknown_ids_is_found_out():
    with pytest.raises(ProviderError):
        asyncio.run(run_check(conformance.passes_over_unknown_ids, subject(_MindsUnknownIds)))


def test_changes_that_are_not_told_are_found_out():
    check = conformance.says_changes
    asyncio.run(run_check(check, subject()))
    with pytest.raises(ConformanceError, match="on_change"):
        asyncio.run(run_check(check, subject(says_changes=True)))
