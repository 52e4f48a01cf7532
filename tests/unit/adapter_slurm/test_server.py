"""What the adapter is, and where it cannot be used."""

import asyncio
import uuid
from dataclasses import replace

import pytest

from scaler_adapter_core.provider import ProviderError
from scaler_adapter_slurm.server import hold, open_provider, profile_of
from scaler_runtime.options import WorkerCapabilities, WorkerConfig
from scaler_runtime.program import ProgramError
from tests.unit.adapter_slurm.fake_slurm import configuration


def test_its_profile_follows_from_the_options():
    workers = WorkerConfig(WorkerCapabilities({"gpu": 1}), heartbeat_interval_seconds=3, death_timeout_seconds=70)
    config = replace(configuration(workers_per_group=4, poll_interval_seconds=9), worker_config=workers)
    profile = profile_of(config)

    assert profile.name.startswith("SLM|")
    assert (profile.workers_per_group, profile.capabilities, profile.heartbeat_seconds) == (4, {"gpu": 1}, 3)
    assert (profile.limits.poll_seconds, profile.limits.registration_seconds, profile.limits.max_groups) == (9, 70, -1)
    assert profile.limits.absence_seconds > 0


def test_without_slurm_it_says_where_it_has_to_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ProviderError, match="there is no sbatch here"):
        asyncio.run(open_provider(configuration(log_folder=str(tmp_path)), lambda: None))


def test_a_log_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(ProviderError, match=r"cannot make the log folder .*file/logs"):
        asyncio.run(open_provider(configuration(log_folder=str(tmp_path / "file" / "logs")), lambda: None))


def test_a_second_adapter_for_the_same_jobs_is_refused_as_long_as_the_first_lives():
    mine, other = (configuration(job_name=uuid.uuid4().hex) for _ in range(2))
    with hold(mine):
        with pytest.raises(ProgramError, match="give one of them another --job-name"):
            hold(mine)
        hold(other).close()
        hold(replace(mine, slurm_config=replace(mine.slurm_config, partition="p"))).close()
    hold(configuration(job_name="n" * 64)).close()
    hold(mine).close()
