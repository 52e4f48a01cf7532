"""Workers of a host as units."""

import asyncio
import re

import pytest

from scaler_adapter_core.conformance import CHECKS, Subject, run_check
from scaler_adapter_core.provider import LaunchResult, LaunchSpec, TerminateMode, UnitState
from scaler_adapter_native.provider import MAX_ENDED, NativeProvider
from tests.unit.adapter_native.fake_host import FakeHost


async def open_provider(on_change):
    return NativeProvider(FakeHost(on_change), "NAT")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_conforms_with_a_host_that_runs_nothing(check):
    asyncio.run(run_check(check, Subject(open_provider, {"gpu": 2}, says_changes=True)))


def with_provider(scenario):
    async def run():
        host = FakeHost()
        host.is_slow = True
        provider = NativeProvider(host, "NAT")
        await scenario(host, provider)
        await provider.close()
        assert host.is_closed

    asyncio.run(run())


def test_worker_ids_have_the_prefix_and_two_random_parts():
    async def scenario(host, provider):
        await provider.launch([LaunchSpec("a", {"gpu": 1}), LaunchSpec("b", {}, "alice")])
        (first, second) = (unit.worker_ids[0] for unit in await provider.observe())
        assert re.fullmatch(r"Worker\|NAT\|[0-9a-f]{32}\|[0-9a-f]{32}", first)
        assert re.fullmatch(r"Worker\|alice\|[0-9a-f]{32}", second)
        assert host.started == [("a", first, {"gpu": 1}), ("b", second, {})]

    with_provider(scenario)


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("starting", UnitState.RUNNING),
        ("ready", UnitState.READY),
        ("stopped", UnitState.READY),
        ("stopping", UnitState.STOPPING),
        ("draining", UnitState.DRAINING),
        ("ended", UnitState.FAILED),
    ],
)
def test_states_are_translated(state, shown):
    async def scenario(host, provider):
        await provider.launch([LaunchSpec("a", {})])
        host.become(host.started[0][1], state, "because")
        (unit,) = await provider.observe()
        assert (unit.state, unit.reason) == (shown, "because")

    with_provider(scenario)


def test_what_ended_is_shown_with_its_reason_and_forgotten_by_the_host():
    async def scenario(host, provider):
        await provider.launch([LaunchSpec("a", {})])
        host.become(host.started[0][1], "ended", "preload failed")
        for _ in range(2):
            (unit,) = await provider.observe()
            assert (unit.state, unit.reason) == (UnitState.FAILED, "preload failed")
        assert host.workers() == {}
        assert await provider.diagnose("a") == "preload failed"

    with_provider(scenario)


def test_what_the_host_itself_has_ended_has_not_failed():
    async def scenario(host, provider):
        await provider.launch([LaunchSpec("a", {})])
        host.become(host.started[0][1], "stopping", "the scheduler ends")
        await provider.observe()
        host.become(host.started[0][1], "ended")
        (unit,) = await provider.observe()
        assert unit.state is UnitState.GONE

    with_provider(scenario)


def test_what_has_ended_in_order_has_not_failed():
    async def scenario(host, provider):
        await provider.launch([LaunchSpec("a", {})])
        host.become(host.started[0][1], "ended", "the scheduler ends", in_order=True)
        (unit,) = await provider.observe()
        assert (unit.state, unit.reason) == (UnitState.GONE, "the scheduler ends")

    with_provider(scenario)


def test_a_worker_that_the_host_does_not_know_has_failed():
    async def scenario(host, provider):
        await provider.launch([LaunchSpec("a", {})])
        host.table.clear()
        (unit,) = await provider.observe()
        assert unit.state is UnitState.FAILED

    with_provider(scenario)


def test_the_memory_for_ended_workers_is_bounded():
    async def scenario(host, provider):
        await provider.launch([LaunchSpec(f"g{number}", {}) for number in range(MAX_ENDED + 10)])
        for _, worker_id, _ in host.started:
            host.become(worker_id, "ended", "crash")
        assert len(await provider.observe()) == MAX_ENDED

    with_provider(scenario)


def test_draining_everything_is_the_hosts_and_a_part_is_stopped():
    async def scenario(host, provider):
        await provider.launch([LaunchSpec("a", {}), LaunchSpec("b", {})])
        await provider.terminate(["a"], TerminateMode.DRAIN, 5.0)
        assert (host.drained, host.stopped) == ([], [(host.started[0][1], False)])
        await provider.terminate(["a", "b"], TerminateMode.DRAIN, 5.0)
        await provider.terminate(["a", "b"], TerminateMode.DRAIN, 5.0)
        await asyncio.sleep(0)
        assert host.drained == [5.0]

    with_provider(scenario)


def test_killing_is_handed_on():
    async def scenario(host, provider):
        await provider.launch([LaunchSpec("a", {})])
        await provider.terminate(["a"], TerminateMode.KILL, 0.0)
        assert host.stopped == [(host.started[0][1], True)]

    with_provider(scenario)


def test_a_machine_that_cannot_start_more_is_unavailable():
    async def scenario(host, provider):
        host.failure = OSError(11, "Resource temporarily unavailable")
        (outcome,) = await provider.launch([LaunchSpec("a", {})])
        assert outcome.result is LaunchResult.UNAVAILABLE
        assert "Resource temporarily unavailable" in outcome.reason
        assert await provider.observe() == []

    with_provider(scenario)
