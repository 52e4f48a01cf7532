"""A constant number of workers on this machine: the native adapter with a desire of its own, not the scheduler's."""

from collections.abc import Sequence

from scaler_adapter_core.driver import Announce
from scaler_adapter_core.model import ConstantDesire
from scaler_adapter_fixed_native.config import FixedNativeWorkerAdapterConfig
from scaler_adapter_native.config import NativeWorkerAdapterConfig
from scaler_adapter_native.server import run_workers
from scaler_runtime.config import ConfigError
from scaler_runtime.logging import setup_logging
from scaler_runtime.program import ProgramError
from scaler_runtime.zygote import Channel, Zygote
from scaler_worker.processes import PRELOAD


def run(config: FixedNativeWorkerAdapterConfig) -> int:
    """Run the command. Returns the exit code, or raises `ProgramError`."""
    return run_fixed(config)


def run_child(arguments: tuple[FixedNativeWorkerAdapterConfig, int], channel: Channel) -> int:
    """Run in a child process of a zygote; `arguments` are the configuration and the pid to end with.

    Says `("ready",)` once all workers are registered, `("failed", one line)` if that cannot be.
    """
    config, parent_pid = arguments
    try:
        setup_logging(config.logging_config)  # before the fork, so that it need not be done in each worker
        zygote = Zygote(PRELOAD, fork=True)  # what this process has imported, its workers have
        return run_fixed(config, zygote=zygote, parent_pid=parent_pid, announce=channel.say)
    except ProgramError:  # has been said
        return 1
    except ConfigError as error:
        channel.say(("failed", str(error)))
        return 2


def run_fixed(
    config: FixedNativeWorkerAdapterConfig,
    *,
    names: Sequence[str] = (),
    zygote: Zygote | None = None,
    parent_pid: int | None = None,
    announce: Announce | None = None,
) -> int:
    """Start `max_workers` workers, and keep that many with `restart`; `names` has one for each, or none at all.

    `zygote` forks them, if there is one already.
    """
    setup_logging(config.logging_config)
    constant = ConstantDesire(config.worker_adapter_config.max_workers, config.restart, tuple(names))
    native = NativeWorkerAdapterConfig(
        config.worker_adapter_config, config.preload, config.worker_config, config.logging_config, config.process_config
    )
    return run_workers(native, "FIX", constant=constant, zygote=zygote, parent_pid=parent_pid, announce=announce)
