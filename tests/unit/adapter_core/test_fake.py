"""The fake engine takes its time, and its faults do what they say."""

import asyncio

from scaler_adapter_core.fake import FakeEngine, FakeProvider
from scaler_adapter_core.provider import LaunchResult, LaunchSpec, TerminateMode, UnitState


def states(engine, now):
    return [unit.state for unit in engine.observe(now)]


def test_units_pass_through_their_states():
    engine = FakeEngine(pending_seconds=1, start_seconds=2, stop_seconds=3)
    engine.launch([LaunchSpec("a", {})], 0.0)

    assert [states(engine, now) for now in (0.5, 1.0, 2.9, 3.0)] == [
        [UnitState.PENDING],
        [UnitState.RUNNING],
        [UnitState.RUNNING],
        [UnitState.READY],
    ]
    engine.terminate(["a"], TerminateMode.STOP, 10.0)
    assert engine.next_change() == 13.0
    assert [states(engine, now) for now in (10.0, 13.0)] == [[UnitState.STOPPING], [UnitState.GONE]]
    assert engine.next_change() is None


def test_capacity_is_kept():
    engine = FakeEngine(capacity=1)
    outcomes = engine.launch([LaunchSpec("a", {}), LaunchSpec("b", {})], 0.0)

    assert [outcome.result for outcome in outcomes] == [LaunchResult.ACCEPTED, LaunchResult.NO_CAPACITY]


def test_a_slow_provider_answers_when_it_is_released():
    async def scenario():
        provider = FakeProvider(FakeEngine(), lambda: None)
        provider.hold()
        task = asyncio.create_task(provider.observe())
        await asyncio.sleep(0)
        assert not task.done()
        provider.release()
        assert await task == []

    asyncio.run(scenario())
