"""Runs the adapter: Slurm is its engine, through the commands of the machine that it runs on."""

import logging
import os
import socket
import time
from pathlib import Path
from typing import Final

import zmq

from scaler_adapter_core.alone import alone
from scaler_adapter_core.driver import AdapterSetup, run_adapter
from scaler_adapter_core.model import AdapterProfile, Limits
from scaler_adapter_core.provider import OnChange, ProviderError
from scaler_adapter_slurm.config import SlurmWorkerAdapterConfig
from scaler_adapter_slurm.provider import SlurmProvider
from scaler_adapter_slurm.slurm import Slurm
from scaler_adapter_slurm.submission import Submission
from scaler_protocol.identifiers import short_host_name
from scaler_runtime.logging import setup_logging

ABSENCE_SECONDS: Final = 10.0
LAUNCH_BATCH: Final = 16
"""Some at a time, so that a controller that is away holds up nothing for long."""
_log = logging.getLogger(__name__)


def run(config: SlurmWorkerAdapterConfig) -> int:
    """Run the command. Returns the exit code, or raises `ProgramError`."""
    setup_logging(config.logging_config)
    adapter, workers = config.worker_adapter_config, config.worker_config
    if adapter.scheduler_address.is_loopback:
        _log.warning("jobs on other machines cannot reach a scheduler at %s", adapter.scheduler_address)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(config.process_config.worker_io_threads)

    async def open_it(on_change: OnChange) -> SlurmProvider:
        return await open_provider(config, on_change)

    setup = AdapterSetup(
        profile=profile_of(config),
        scheduler_address=adapter.scheduler_address,
        death_timeout_seconds=workers.death_timeout_seconds,
        process=config.process_config,
        context=context,
    )
    with hold(config):
        try:
            return run_adapter(setup, open_it)
        finally:
            context.destroy(linger=0)


def hold(config: SlurmWorkerAdapterConfig) -> socket.socket:
    """Hold the jobs' names as long as this process lives: two adapters with the same would end each other's jobs."""
    prefix = Submission(config, Path()).prefix
    refusal = f"another adapter on this machine has the jobs {prefix}...: give one of them another --job-name"
    return alone(f"scaler-slurm/{os.getuid()}/{prefix}", refusal)


def profile_of(config: SlurmWorkerAdapterConfig) -> AdapterProfile:
    """Return what the adapter is and keeps to."""
    workers, slurm = config.worker_config, config.slurm_config
    return AdapterProfile(
        name=f"SLM|{short_host_name()}",
        heartbeat_seconds=workers.heartbeat_interval_seconds,
        capabilities=dict(workers.per_worker_capabilities),
        workers_per_group=slurm.workers_per_group,
        limits=Limits(
            max_groups=config.max_groups,
            poll_seconds=slurm.poll_interval_seconds,
            registration_seconds=workers.death_timeout_seconds,
            absence_seconds=ABSENCE_SECONDS,
            launch_batch=LAUNCH_BATCH,
        ),
    )


async def open_provider(config: SlurmWorkerAdapterConfig, on_change: OnChange) -> SlurmProvider:
    """Make the provider; `ProviderError` where Slurm's commands are missing, or the outputs have no place."""
    slurm = config.slurm_config
    return SlurmProvider(
        Slurm(),
        Submission(config, _made(slurm.log_folder)),
        on_change,
        drain_seconds=slurm.drain_seconds,
        poll_seconds=slurm.poll_interval_seconds,
        clock=time.time,
    )


def _made(log_folder: str) -> Path:
    folder = Path(log_folder).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProviderError(f"cannot make the log folder {folder}: {error.strerror}") from None
    return folder
