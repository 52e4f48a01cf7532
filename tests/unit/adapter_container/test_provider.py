"""The provider over an engine that runs nothing."""

import asyncio
import threading

import pytest

from scaler_adapter_container.engine import Unreached
from scaler_adapter_container.provider import ContainerProvider
from scaler_adapter_core.conformance import CHECKS, Subject, run_check
from scaler_adapter_core.provider import LaunchSpec, ProviderError, TerminateMode, UnitState
from tests.unit.adapter_container.fake_engine import FakeEngine, a_config

RUNNING = frozenset({UnitState.RUNNING})


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_conforms_with_an_engine_that_runs_nothing(check):
    engine = FakeEngine()

    async def open_provider(on_change):
        return await ContainerProvider.open(a_config(), "tag", on_change, open_engine=lambda: engine)

    asyncio.run(run_check(check, Subject(open_provider, {"gpu": 2}, up_states=RUNNING, says_changes=True)))
    assert engine.containers == {}
    engine.told.put(None)


def test_without_an_engine_there_is_no_provider():
    def open_engine():
        raise Unreached("nobody there")

    with pytest.raises(ProviderError, match="nobody there"):
        asyncio.run(ContainerProvider.open(a_config(), "tag", lambda: None, open_engine=open_engine))


def test_a_launch_that_is_cut_off_in_the_middle_starts_no_further_container():
    async def scenario():
        engine, begun, go = FakeEngine(), threading.Event(), threading.Event()
        provider = await ContainerProvider.open(a_config(), "tag", lambda: None, open_engine=lambda: engine)
        start = engine.start

        def slow_start(container_id):
            begun.set()
            go.wait()
            start(container_id)

        engine.start = slow_start
        launch = asyncio.ensure_future(provider.launch([LaunchSpec("a", {}), LaunchSpec("b", {})]))
        await asyncio.to_thread(begun.wait)
        launch.cancel()
        await asyncio.wait([launch])
        go.set()
        assert [unit.group_id for unit in await provider.observe()] == ["a"]
        await provider.close()
        engine.told.put(None)

    asyncio.run(scenario())


def test_when_the_grace_is_over_somebody_is_told_to_look():
    async def scenario():
        engine, told = FakeEngine(), asyncio.Event()
        engine.ignores_sigterm = True
        provider = await ContainerProvider.open(a_config(), "tag", told.set, open_engine=lambda: engine)
        await provider.launch([LaunchSpec("a", {})])
        await provider.terminate(["a"], TerminateMode.STOP, 0.05)
        async with asyncio.timeout(60):
            while True:
                told.clear()
                if [unit.state for unit in await provider.observe()] != [UnitState.STOPPING]:
                    break
                await told.wait()
        assert [unit.state for unit in await provider.observe()] == [UnitState.GONE]
        await provider.close()
        engine.told.put(None)

    asyncio.run(scenario())
