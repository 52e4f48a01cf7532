"""What the engine is asked for a worker group, and the labels by which its container is known again. No IO."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from scaler_adapter_container.config import ContainerWorkerAdapterConfig
from scaler_adapter_container.engine import Request
from scaler_adapter_core.group_program import GROUP_MODULE, group_arguments
from scaler_adapter_core.model import describe
from scaler_adapter_core.provider import LaunchSpec
from scaler_protocol.identifiers import content_id, short_host_name, worker_ids_of
from scaler_protocol.messages import Capabilities
from scaler_runtime.options import WorkerCapabilities

NAME_PREFIX: Final = "CON"
"""Begins the names of workers that get none of their own."""
ADAPTER: Final = "scaler.adapter"
GROUP: Final = "scaler.group"
NAME: Final = "scaler.name"
WORKERS: Final = "scaler.workers"
CAPABILITIES: Final = "scaler.capabilities"


@dataclass(frozen=True, slots=True)
class Labelled:
    """What the labels of a container say of its group."""

    group_id: str
    worker_ids: tuple[str, ...]
    capabilities: Capabilities


def tag_of(config: ContainerWorkerAdapterConfig) -> str:
    """Return what marks the containers of this adapter: the same after a restart, another for another scheduler."""
    if config.container_config.tag is not None:
        return config.container_config.tag
    address = str(config.worker_adapter_config.scheduler_address)
    return f"{short_host_name()}-{content_id(address.encode()).hex()[:8]}"


def container_name(group_id: str) -> str:
    """Return the name of a group's container."""
    return f"scaler-{group_id}"


def request_of(config: ContainerWorkerAdapterConfig, tag: str, spec: LaunchSpec) -> Request:
    """Return the container that runs a group."""
    container = config.container_config
    name = spec.name or NAME_PREFIX
    labels = {
        **_pairs(container.labels),
        ADAPTER: tag,
        GROUP: spec.group_id,
        NAME: name,
        WORKERS: str(container.workers_per_group),
        CAPABILITIES: describe(spec.capabilities),
    }
    arguments = group_arguments(
        spec.group_id,
        name,
        container.workers_per_group,
        replace(config.worker_adapter_config, scheduler_address=config.address_for_workers),
        replace(config.worker_config, per_worker_capabilities=WorkerCapabilities(dict(spec.capabilities))),
        config.process_config,
        preload=config.preload,
        logging_level=config.logging_config.level,
    )
    host = {
        "network_mode": container.network,
        "binds": [*container.mounts],
        "mem_limit": container.memory_bytes,
        "memswap_limit": container.memory_bytes,  # the same: the limit shall be one, with swap or without
        "nano_cpus": container.nano_cpus,
        "shm_size": container.shm_bytes,
    }
    return Request(
        container_name(spec.group_id),
        container.image,
        (container.python, "-m", GROUP_MODULE, *arguments),
        labels,
        _pairs(container.environment),
        container.user,
        {name: value for name, value in host.items() if value},
    )


def read_labels(labels: Mapping[str, str]) -> Labelled | None:
    """Return what stands in the labels of a container, None where somebody has taken ours for something else."""
    try:
        group_id, name, workers = labels[GROUP], labels[NAME], int(labels[WORKERS])
        capabilities = dict(WorkerCapabilities.from_string(labels[CAPABILITIES]))
    except (KeyError, ValueError):
        return None
    return Labelled(group_id, worker_ids_of(group_id, name, workers), capabilities)


def _pairs(items: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, _, value in (item.partition("=") for item in items)}
