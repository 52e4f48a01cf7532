"""Runs the adapter: a worker host is its engine, in the same process and over the same ZeroMQ context."""

import zmq

from scaler_adapter_core.driver import AdapterSetup, Announce, run_adapter
from scaler_adapter_core.model import AdapterProfile, ConstantDesire, Limits
from scaler_adapter_core.provider import OnChange
from scaler_adapter_native.config import NativeWorkerAdapterConfig
from scaler_adapter_native.provider import NativeProvider
from scaler_protocol.identifiers import short_host_name
from scaler_runtime.logging import setup_logging
from scaler_runtime.zygote import Zygote
from scaler_worker.host import WorkerHost


def run(config: NativeWorkerAdapterConfig) -> int:
    """Run the command: start workers when the scheduler asks. Returns the exit code, or raises `ProgramError`."""
    setup_logging(config.logging_config)
    return run_workers(config, "NAT")


def run_workers(
    config: NativeWorkerAdapterConfig,
    prefix: str,
    *,
    constant: ConstantDesire | None = None,
    zygote: Zygote | None = None,
    parent_pid: int | None = None,
    announce: Announce | None = None,
) -> int:
    """Start workers on this machine: those that the scheduler asks for, or a constant number.

    `prefix` begins the names of workers that get none of their own. `zygote` forks them, if there is one already.
    """
    adapter, workers = config.worker_adapter_config, config.worker_config
    profile = AdapterProfile(
        name=f"{prefix}|{short_host_name()}",
        heartbeat_seconds=workers.heartbeat_interval_seconds,
        capabilities=dict(workers.per_worker_capabilities),
        limits=Limits(max_groups=adapter.max_workers, registration_seconds=workers.death_timeout_seconds),
        constant=constant,
    )
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(config.process_config.worker_io_threads)

    async def open_provider(on_change: OnChange) -> NativeProvider:
        host = WorkerHost(
            context,
            adapter.scheduler_address,
            prefix,
            workers,
            preload=config.preload,
            object_storage_address=adapter.object_storage_address,
            io_threads=config.process_config.worker_io_threads,
            logging_config=config.logging_config,
            on_change=on_change,
            zygote=zygote,
        )
        return NativeProvider(host, prefix)

    setup = AdapterSetup(
        profile=profile,
        scheduler_address=adapter.scheduler_address,
        death_timeout_seconds=workers.death_timeout_seconds,
        process=config.process_config,
        context=context,
        parent_pid=parent_pid,
        announce=announce,
    )
    try:
        return run_adapter(setup, open_provider)
    finally:
        context.destroy(linger=0)
