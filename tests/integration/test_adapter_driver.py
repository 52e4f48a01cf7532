"""An adapter over real sockets, with an engine that runs nothing."""

import asyncio

import pytest
import zmq

from scaler_adapter_core import driver
from scaler_adapter_core.driver import AdapterSetup, serve
from scaler_adapter_core.fake import FakeEngine, FakeProvider
from scaler_adapter_core.model import AdapterProfile, ConstantDesire, Limits
from scaler_adapter_core.provider import ProviderError
from scaler_protocol.addresses import Address
from scaler_protocol.messages import Shutdown
from scaler_runtime.options import ProcessConfig
from scaler_runtime.program import ProgramError
from tests.integration.scripted_scheduler import ScriptedScheduler, running

pytestmark = pytest.mark.integration


class Adapter:
    """An adapter in this process."""

    def __init__(
        self,
        address,
        *,
        death_timeout_seconds=60.0,
        heartbeat_seconds=0.2,
        limits=None,
        constant=None,
        provider_class=FakeProvider,
    ):
        self.engine = FakeEngine()
        self.provider = None
        self.provider_class = provider_class
        self.said = []
        self.stopping = asyncio.Event()
        self.context = zmq.Context()
        profile = AdapterProfile("fake", heartbeat_seconds, limits=limits or Limits(), constant=constant)
        self.setup = AdapterSetup(
            profile, address, death_timeout_seconds, ProcessConfig(), self.context, announce=self.said.append
        )

    async def run(self):
        try:
            return await serve(self.setup, self.open_provider, self.stopping)
        finally:
            self.context.destroy(linger=0)

    async def open_provider(self, on_change):
        self.provider = self.provider_class(self.engine, on_change)
        return self.provider


def test_it_does_what_it_is_told_and_stops_in_order(tmp_path):
    async def scenario():
        async with ScriptedScheduler(tmp_path / "s") as scheduler:
            adapter = Adapter(scheduler.address)
            async with running(adapter.run()) as task:
                scheduler.command(["a", "b"])
                await scheduler.until(lambda: scheduler.states == {"a": "ready", "b": "ready"})
                assert scheduler.reports[-1].revision == 1
                scheduler.command(["b"], ["a"])
                await scheduler.until(lambda: scheduler.states == {"a": "gone", "b": "ready"})
                adapter.engine.end("b", "killed by SIGKILL")
                adapter.provider.change()
                await scheduler.until(lambda: scheduler.states.get("b") == "lost")
                scheduler.command(["c"])
                await scheduler.until(lambda: scheduler.states.get("c") == "ready")
                adapter.stopping.set()
                assert await task == 0
                await scheduler.until(lambda: scheduler.left)
            assert adapter.engine.live == []
            assert adapter.provider.is_closed
            assert scheduler.left == ["the adapter has stopped"]

    asyncio.run(scenario())


def test_heartbeats_go_on_while_the_engine_takes_its_time(tmp_path):
    async def scenario():
        async with ScriptedScheduler(tmp_path / "s") as scheduler:
            adapter = Adapter(scheduler.address, heartbeat_seconds=0.05)
            async with running(adapter.run()) as task:
                await scheduler.until(lambda: scheduler.reports)
                adapter.provider.hold()
                scheduler.command(["a"])
                before = len(scheduler.reports)
                await scheduler.until(lambda: len(scheduler.reports) >= before + 10)
                assert scheduler.states == {"a": "requested"}
                adapter.provider.release()
                await scheduler.until(lambda: scheduler.states == {"a": "ready"})
                adapter.stopping.set()
                assert await task == 0

    asyncio.run(scenario())


def test_a_call_that_hangs_is_cut_off_and_what_it_did_is_found(tmp_path):
    async def scenario():
        async with ScriptedScheduler(tmp_path / "s") as scheduler:
            adapter = Adapter(scheduler.address, limits=Limits(call_seconds=0.1))
            async with running(adapter.run()) as task:
                await scheduler.until(lambda: scheduler.reports)
                adapter.provider.hold()
                scheduler.command(["a"])
                await scheduler.until(lambda: "took too long" in str(scheduler.reports[-1].groups))
                adapter.provider.release()
                await scheduler.until(lambda: scheduler.states == {"a": "ready"})
                adapter.stopping.set()
                assert await task == 0

    asyncio.run(scenario())


def test_a_call_that_hangs_does_not_keep_it_from_stopping(tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "_STOP_CALL_SECONDS", 0.05)

    class HangingProvider(FakeProvider):
        async def launch(self, specs):
            await asyncio.Event().wait()

    async def scenario():
        async with ScriptedScheduler(tmp_path / "s") as scheduler:
            adapter = Adapter(scheduler.address, provider_class=HangingProvider)
            async with running(adapter.run()) as task:
                scheduler.command(["a"])
                await scheduler.until(lambda: scheduler.states == {"a": "requested"})
                adapter.stopping.set()
                async with asyncio.timeout(5):
                    assert await task == 0

    asyncio.run(scenario())


def test_a_provider_that_raises_ends_nothing(tmp_path):
    async def scenario():
        async with ScriptedScheduler(tmp_path / "s") as scheduler:
            adapter = Adapter(scheduler.address)
            async with running(adapter.run()) as task:
                await scheduler.until(lambda: scheduler.reports)

                def launch(specs, now):
                    del adapter.engine.launch
                    raise RuntimeError("a bug")

                adapter.engine.launch = launch
                scheduler.command(["a"])
                await scheduler.until(lambda: scheduler.states == {"a": "ready"})
                adapter.stopping.set()
                assert await task == 0

    asyncio.run(scenario())


def test_it_ends_when_the_scheduler_ends_on_request(tmp_path):
    async def scenario():
        async with ScriptedScheduler(tmp_path / "s") as scheduler:
            adapter = Adapter(scheduler.address)
            async with running(adapter.run()) as task:
                scheduler.command(["a"])
                await scheduler.until(lambda: scheduler.states == {"a": "ready"})
                scheduler.send(Shutdown("a client asked for it"))
                assert await task == 0
            assert adapter.engine.live == []

    asyncio.run(scenario())


def test_it_ends_with_one_line_when_it_hears_nothing(tmp_path):
    async def scenario():
        address = Address.from_string(f"ipc://{tmp_path / 'nobody'}")
        adapter = Adapter(address, death_timeout_seconds=0.3, constant=ConstantDesire(2))
        with pytest.raises(ProgramError, match=r"heard nothing from the scheduler at ipc://.* for 0.3 seconds"):
            await adapter.run()
        assert adapter.engine.live == []
        assert len(adapter.engine.units) == 2
        assert adapter.said[-1][0] == "failed"

    asyncio.run(scenario())


def test_it_ends_with_the_reason_when_the_scheduler_refuses_it(tmp_path):
    async def scenario():
        async with ScriptedScheduler(tmp_path / "s") as scheduler:
            scheduler.server._sessions._patience.pop("adapter")
            adapter = Adapter(scheduler.address, constant=ConstantDesire(1))
            with pytest.raises(ProgramError, match="knows no role 'adapter'"):
                await adapter.run()
            assert adapter.engine.live == []

    asyncio.run(scenario())


def test_an_engine_that_cannot_be_used_is_a_one_line_failure(tmp_path):
    async def scenario():
        adapter = Adapter(Address.from_string(f"ipc://{tmp_path / 'nobody'}"))

        async def open_provider(on_change):
            raise ProviderError("sbatch is not installed")

        adapter.open_provider = open_provider
        with pytest.raises(ProgramError, match="sbatch is not installed"):
            await adapter.run()
        assert adapter.said == [("failed", "sbatch is not installed")]

    asyncio.run(scenario())


def test_a_constant_number_says_when_it_is_ready_and_ends_with_its_last(tmp_path):
    async def scenario():
        async with ScriptedScheduler(tmp_path / "s") as scheduler:
            adapter = Adapter(scheduler.address, constant=ConstantDesire(2))
            async with running(adapter.run()) as task:
                await scheduler.until(lambda: list(scheduler.states.values()) == ["ready", "ready"])
                assert adapter.said == [("ready",)]
                assert scheduler.reports[-1].max_worker_groups == 0
                for unit in adapter.engine.live:
                    adapter.engine.end(unit.group_id, "killed by SIGKILL")
                adapter.provider.change()
                with pytest.raises(ProgramError, match="last worker has ended: killed by SIGKILL"):
                    await task

    asyncio.run(scenario())


def test_a_scheduler_that_comes_back_hears_of_the_groups(tmp_path):
    async def scenario():
        async with ScriptedScheduler(tmp_path / "s") as first:
            adapter = Adapter(first.address)
            async with running(adapter.run()) as task:
                first.command(["a"])
                await first.until(lambda: first.states == {"a": "ready"})
                first.server.stop()
                await first._task
                async with ScriptedScheduler(tmp_path / "s") as second:
                    await second.until(lambda: second.states == {"a": "ready"})
                    assert second.reports[0].revision == 0
                    second.command(["a", "b"])
                    await second.until(lambda: second.states == {"a": "ready", "b": "ready"})
                    adapter.stopping.set()
                    assert await task == 0

    asyncio.run(scenario())
