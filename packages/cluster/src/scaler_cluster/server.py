"""Runs a cluster: the fixed native adapter with names for its workers, as a command or as a child of a launcher."""

import logging

from scaler_adapter_core.driver import Announce
from scaler_adapter_fixed_native.config import FixedNativeWorkerAdapterConfig
from scaler_adapter_fixed_native.server import run_fixed
from scaler_cluster.config import ClusterConfig
from scaler_protocol.identifiers import short_host_name
from scaler_runtime.config import ConfigError
from scaler_runtime.logging import setup_logging
from scaler_runtime.options import WorkerAdapterConfig
from scaler_runtime.program import ProgramError
from scaler_runtime.zygote import Channel, Zygote
from scaler_worker.processes import PRELOAD

_log = logging.getLogger(__name__)


def run(config: ClusterConfig) -> int:
    """Run until told to stop, or until the last worker has ended; returns the exit code, or raises `ProgramError`."""
    return _run(config)


def run_child(arguments: tuple[ClusterConfig, int], channel: Channel) -> int:
    """Run in a child process; `arguments` are the configuration and the pid to end with.

    Says `("ready",)` once all workers are registered, `("failed", one line)` if that cannot be.
    """
    config, parent_pid = arguments
    try:
        setup_logging(config.logging_config)  # before the fork, so that it need not be done in each worker
        # This process has one thread yet and everything imported: workers that are forked from here start at once.
        zygote = Zygote(PRELOAD, fork=True)
        return _run(config, zygote=zygote, parent_pid=parent_pid, announce=channel.say)
    except ProgramError as error:  # has been said
        _log.error("%s", error)
        return 1
    except ConfigError as error:
        _log.error("%s", error)
        channel.say(("failed", str(error)))
        return 2


def _run(
    config: ClusterConfig,
    *,
    zygote: Zygote | None = None,
    parent_pid: int | None = None,
    announce: Announce | None = None,
) -> int:
    fixed = FixedNativeWorkerAdapterConfig(
        WorkerAdapterConfig(config.scheduler_address, config.object_storage_address, config.num_of_workers),
        config.preload,
        config.worker_config,
        config.logging_config,
        config.process_config,
    )
    names = tuple(config.worker_names) or (short_host_name(),) * config.num_of_workers
    return run_fixed(fixed, names=names, zygote=zygote, parent_pid=parent_pid, announce=announce)
