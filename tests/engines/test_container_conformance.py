"""adapter-core's conformance suite on the container provider, with real containers of podman."""

import asyncio
import threading

import pytest

from scaler_adapter_container.provider import ContainerProvider
from scaler_adapter_core.conformance import CHECKS, Subject, run_check
from scaler_adapter_core.provider import UnitState
from scaler_protocol.addresses import Address
from scaler_protocol.messages import WorkerHello
from tests.integration.scripted_scheduler import ScriptedScheduler

pytestmark = [pytest.mark.integration, pytest.mark.slow]
CANNOT = {}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_conforms(check, tmp_path, engine):
    if check.__name__ in CANNOT:
        pytest.skip(f"{check.__name__}: {CANNOT[check.__name__]}")

    async def scenario():
        async with ScriptedScheduler(tmp_path / "s") as scheduler:
            folder = f"{tmp_path}:{tmp_path}"  # the scheduler's socket
            config = engine.config(scheduler.address, capabilities={"gpu": 2}, workers_per_group=2, mounts=(folder,))

            def registered():
                return {m.worker_id: m.group_id for m in scheduler.messages if isinstance(m, WorkerHello)}

            subject = Subject(
                lambda on_change: ContainerProvider.open(config, engine.tag, on_change),
                {"gpu": 2},
                up_states=frozenset({UnitState.RUNNING}),
                wait_seconds=60.0,
                says_changes=True,
                registered=registered,
            )
            await run_check(check, subject)

    asyncio.run(scenario())


def test_closing_ends_the_thread_that_listens_to_the_engine(engine):
    async def scenario():
        listens = asyncio.Event()
        before = set(threading.enumerate())
        provider = await ContainerProvider.open(
            engine.config(Address.from_string("tcp://127.0.0.1:1")), engine.tag, listens.set
        )
        await listens.wait()
        await provider.close()
        return [thread for thread in threading.enumerate() if thread not in before and thread.daemon]

    for thread in asyncio.run(scenario()):
        thread.join(60)
        assert not thread.is_alive(), thread.name
