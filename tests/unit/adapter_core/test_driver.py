"""What becomes of an adapter that is asked to stop before its engine has answered. No socket is made."""

import asyncio

import pytest

from scaler_adapter_core import driver
from scaler_adapter_core.driver import AdapterSetup, serve
from scaler_adapter_core.model import AdapterProfile
from scaler_adapter_core.provider import ProviderError
from scaler_protocol.addresses import Address
from scaler_runtime.options import ProcessConfig
from scaler_runtime.program import ProgramError


def setup():
    return AdapterSetup(
        profile=AdapterProfile("test", 2.0),
        scheduler_address=Address.from_string("tcp://127.0.0.1:1"),
        death_timeout_seconds=60,
        process=ProcessConfig(),
        context=None,
    )


def test_an_engine_that_does_not_answer_keeps_nobody_from_stopping(monkeypatch):
    monkeypatch.setattr(driver, "_CLOSE_SECONDS", 0.01)

    async def scenario():
        stopping, ended = asyncio.Event(), []

        async def open_provider(on_change):
            stopping.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(on_change)

        async with asyncio.timeout(60):
            assert await serve(setup(), open_provider, stopping) == 0
        assert len(ended) == 1
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


def test_an_engine_that_cannot_be_used_is_told_in_one_line():
    async def open_provider(on_change):
        raise ProviderError("there is none")

    with pytest.raises(ProgramError, match="there is none"):
        asyncio.run(serve(setup(), open_provider, asyncio.Event()))
