"""A local worker that is always there, and Slurm for the rest: back to the local one when the load falls."""

import os

import pytest

from scaler import Client
from tests.engines.slurm import adapter_arguments, began, begin_and_end, jobs
from tests.integration.commands import running, scheduler, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow]
POLICY = "allocate=even_load; scaling=fixed_elastic(upper=1,cooldown=0.5)"


def test_the_local_worker_is_always_there_and_slurm_takes_the_rest(tmp_path, cluster):
    with (
        scheduler(policy=POLICY) as (command, address),
        running("scaler_adapter_native", address, "--max-workers", 1),
        running(*adapter_arguments(address, tmp_path, "--max-workers", 3)) as adapter,
        Client(address) as client,
    ):
        command.wait_for_line("is ready; 1 workers")
        local = client.submit(os.getpid).result()
        assert "starting" not in adapter.output

        futures = [client.submit(begin_and_end, tmp_path, number) for number in range(4)]
        wait_until(lambda: len(set(began(tmp_path))) == 4, lambda: f"{command.output}\n{adapter.output}")
        assert local in began(tmp_path)
        assert len(jobs(cluster)) == 3
        (tmp_path / "end").touch()
        assert sorted(future.result() for future in futures) == [0, 1, 2, 3]

        wait_until(lambda: not jobs(cluster), lambda: f"{command.output}\n{adapter.output}")
        assert client.submit(os.getpid).result() == local
