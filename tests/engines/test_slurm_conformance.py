"""adapter-core's conformance suite on the Slurm provider, with real jobs on a real cluster."""

import asyncio

import pytest

from scaler_adapter_core.conformance import CHECKS, Subject, run_check
from scaler_adapter_core.provider import UnitState
from scaler_adapter_slurm.server import open_provider
from scaler_protocol.messages import WorkerHello
from tests.engines.slurm import slurm_config
from tests.integration.scripted_scheduler import ScriptedScheduler

pytestmark = [pytest.mark.integration, pytest.mark.slow]
CANNOT = {"says_changes": "Slurm says nothing by itself: it is polled"}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_conforms(check, tmp_path, cluster):
    if check.__name__ in CANNOT:
        pytest.skip(f"{check.__name__}: {CANNOT[check.__name__]}")

    async def scenario():
        async with ScriptedScheduler(tmp_path / "s") as scheduler:
            config = slurm_config(scheduler.address, tmp_path, capabilities={"gpu": 2}, workers_per_group=2)

            def registered():
                return {m.worker_id: m.group_id for m in scheduler.messages if isinstance(m, WorkerHello)}

            subject = Subject(
                lambda on_change: open_provider(config, on_change),
                {"gpu": 2},
                up_states=frozenset({UnitState.RUNNING}),
                wait_seconds=60.0,
                registered=registered,
            )
            await run_check(check, subject)

    asyncio.run(scenario())
