"""Runs the adapter."""

import logging
import socket
from typing import Final

import zmq

from scaler_adapter_container.config import HOST_NETWORK, ContainerWorkerAdapterConfig
from scaler_adapter_container.provider import ContainerProvider
from scaler_adapter_container.request import NAME_PREFIX, tag_of
from scaler_adapter_core.alone import alone
from scaler_adapter_core.driver import AdapterSetup, run_adapter
from scaler_adapter_core.model import AdapterProfile, Limits
from scaler_adapter_core.provider import OnChange
from scaler_protocol.identifiers import short_host_name
from scaler_runtime.logging import setup_logging

POLL_SECONDS: Final = 2.0
"""What the engine tells by itself is noticed sooner."""
LAUNCH_BATCH: Final = 8
"""A container takes a few tenths of a second to start; the adapter looks, and ends some, in between."""
_log = logging.getLogger(__name__)


def run(config: ContainerWorkerAdapterConfig) -> int:
    """Run the command: start containers when the scheduler asks. Returns the exit code, or raises `ProgramError`."""
    setup_logging(config.logging_config)
    for library in ("docker", "urllib3"):  # at DEBUG each writes a line for each request
        logging.getLogger(library).setLevel(logging.INFO)
    if is_out_of_reach(config):
        network, address = config.container_config.network, config.address_for_workers
        _log.warning("containers in the network %s cannot reach a scheduler at %s", network, address)
    adapter, workers = config.worker_adapter_config, config.worker_config
    tag = tag_of(config)
    profile = AdapterProfile(
        name=f"{NAME_PREFIX}|{short_host_name()}",
        heartbeat_seconds=workers.heartbeat_interval_seconds,
        capabilities=dict(workers.per_worker_capabilities),
        workers_per_group=config.container_config.workers_per_group,
        limits=Limits(
            max_groups=config.max_groups,
            poll_seconds=POLL_SECONDS,
            registration_seconds=workers.death_timeout_seconds,
            launch_batch=LAUNCH_BATCH,
        ),
    )
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(config.process_config.worker_io_threads)

    async def open_provider(on_change: OnChange) -> ContainerProvider:
        return await ContainerProvider.open(config, tag, on_change)

    setup = AdapterSetup(
        profile=profile,
        scheduler_address=adapter.scheduler_address,
        death_timeout_seconds=workers.death_timeout_seconds,
        process=config.process_config,
        context=context,
    )
    with hold(tag):
        try:
            return run_adapter(setup, open_provider)
        finally:
            context.destroy(linger=0)


def is_out_of_reach(config: ContainerWorkerAdapterConfig) -> bool:
    """Whether containers look for the scheduler in themselves."""
    address = config.address_for_workers
    return config.container_config.network != HOST_NETWORK and address.transport == "tcp" and address.is_loopback


def hold(tag: str) -> socket.socket:
    """Hold a tag as long as this process lives: two adapters with one would end each other's containers."""
    refusal = f"another adapter on this machine has the tag {tag}: give one of them another, with --tag"
    return alone(f"scaler-adapter-container/{tag}", refusal)
