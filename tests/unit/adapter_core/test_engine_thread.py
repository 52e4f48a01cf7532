"""One thread, one call after the other, and nobody waits for it."""

import asyncio
import threading

import pytest

from scaler_adapter_core.engine_thread import EngineThread


def test_results_and_failures_come_back():
    async def scenario():
        thread = EngineThread("test")
        assert await thread.call(lambda: 1) == 1
        with pytest.raises(ZeroDivisionError):
            await thread.call(lambda: 1 / 0)
        assert await thread.call(lambda: threading.current_thread().daemon)
        thread.close()
        thread.close()

    asyncio.run(scenario())


def test_a_call_cut_off_before_its_turn_is_not_made_and_one_under_way_goes_on():
    async def scenario():
        thread, begun, go, done = EngineThread("test"), threading.Event(), threading.Event(), []

        def first():
            begun.set()
            go.wait()
            done.append("first")

        calls = [asyncio.ensure_future(thread.call(call)) for call in (first, lambda: done.append("second"))]
        await asyncio.to_thread(begun.wait)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        go.set()
        await thread.call(lambda: done.append("third"))
        assert done == ["first", "third"]
        thread.close()

    asyncio.run(scenario())


def test_at_its_close_it_does_what_is_left_and_then_the_last():
    async def scenario():
        thread, ended, done = EngineThread("test"), threading.Event(), []
        call = asyncio.ensure_future(thread.call(lambda: done.append("call")))
        await asyncio.sleep(0)
        thread.close(ended.set)
        await call
        assert done == ["call"]
        assert await asyncio.to_thread(ended.wait, 60)

    asyncio.run(scenario())
