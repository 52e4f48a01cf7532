"""`SchedulerClusterCombo`: a scheduler and its workers on this machine, for as long as the object lives."""

import importlib
import os
import signal
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from scaler_cluster.config import ClusterConfig
from scaler_cluster.keywords import configure
from scaler_cluster.launcher import Launcher
from scaler_cluster.process import STOP_SECONDS
from scaler_protocol.addresses import Address
from scaler_runtime.options import SCREEN
from scaler_scheduler.config import PolicyConfig, SchedulerConfig

_SCHEDULER, _CLUSTER = "scheduler", "cluster"
_TARGETS = {_SCHEDULER: "scaler_scheduler.server:run_child_for_good", _CLUSTER: "scaler_cluster.server:run_child"}
_CLIENT = "scaler_client.agent"
_ANY_PORT = "tcp://127.0.0.1:0"
_DEFAULT_POLICY = PolicyConfig()


class SchedulerClusterCombo:
    """Returns when the scheduler accepts connections; workers may still be starting.

    Raises `ValueError` for values that are not allowed, `StartError` with one line where the scheduler cannot start.
    Everything ends with `shutdown()`, with the `with` block, with garbage collection, and with this process.
    """

    def __init__(  # noqa: PLR0917 - the promised signature
        self,
        n_workers: int,
        address: str | None = None,
        object_storage_address: str | None = None,
        monitor_address: str | None = None,
        per_worker_capabilities: Mapping[str, int] | None = None,
        worker_io_threads: int = 1,
        scheduler_io_threads: int = 1,
        max_number_of_tasks_waiting: int = -1,
        heartbeat_interval_seconds: int = 2,
        client_timeout_seconds: int = 60,
        worker_timeout_seconds: int = 60,
        object_retention_seconds: int = 60,
        task_timeout_seconds: int = 0,
        death_timeout_seconds: int = 300,
        load_balance_seconds: int = 1,
        load_balance_trigger_times: int = 2,
        garbage_collect_interval_seconds: int = 30,
        trim_memory_threshold_bytes: int = 1073741824,
        per_worker_task_queue_size: int = 1000,
        hard_processor_suspend: bool = False,
        protected: bool = True,
        scaler_policy: PolicyConfig = _DEFAULT_POLICY,
        event_loop: str = "builtin",
        logging_paths: Sequence[str] = (SCREEN,),
        logging_level: str = "INFO",
        logging_config_file: str | None = None,
        preload: str | None = None,
    ) -> None:
        # First of all: it imports what the children need while this process reads the options.
        launcher = Launcher([target.partition(":")[0] for target in _TARGETS.values()])
        try:
            shared = {
                "object_storage_address": object_storage_address,
                "event_loop": event_loop,
                "logging_paths": logging_paths,
                "logging_level": logging_level,
                "logging_config_file": logging_config_file,
            }
            scheduler = configure(
                SchedulerConfig,
                {
                    **shared,
                    "scheduler_address": _ANY_PORT if address is None else address,
                    "monitor_address": monitor_address,
                    "worker_io_threads": scheduler_io_threads,
                    "max_number_of_tasks_waiting": max_number_of_tasks_waiting,
                    "client_timeout_seconds": client_timeout_seconds,
                    "worker_timeout_seconds": worker_timeout_seconds,
                    "object_retention_seconds": object_retention_seconds,
                    "load_balance_seconds": load_balance_seconds,
                    "load_balance_trigger_times": load_balance_trigger_times,
                    "protected": protected,
                    "policy_engine_type": scaler_policy.policy_engine_type,
                    "policy_content": scaler_policy.policy_content,
                },
            )
            cluster = configure(
                ClusterConfig,
                {
                    **shared,
                    # Known only when the scheduler listens.
                    "scheduler_address": "tcp://127.0.0.1:1",
                    "num_of_workers": n_workers,
                    "worker_io_threads": worker_io_threads,
                    "preload": preload,
                    "per_worker_capabilities": per_worker_capabilities or {},
                    "per_worker_task_queue_size": per_worker_task_queue_size,
                    "heartbeat_interval_seconds": heartbeat_interval_seconds,
                    "task_timeout_seconds": task_timeout_seconds,
                    "death_timeout_seconds": death_timeout_seconds,
                    "garbage_collect_interval_seconds": garbage_collect_interval_seconds,
                    "trim_memory_threshold_bytes": trim_memory_threshold_bytes,
                    "hard_processor_suspend": hard_processor_suspend,
                },
            )
            self._address = _start(launcher, scheduler, cluster)
        except BaseException:
            launcher.close()
            raise
        self._shutdown = weakref.finalize(self, _shut_down, launcher, os.getpid())

    def get_address(self) -> str:
        """Return the address that clients connect to."""
        return str(self._address)

    def shutdown(self) -> None:
        """End the workers, then the scheduler. May be repeated."""
        self._shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()


def _start(launcher: Launcher, scheduler: SchedulerConfig, cluster: ClusterConfig) -> Address:
    launcher.start(_SCHEDULER, _TARGETS[_SCHEDULER], scheduler)
    importlib.import_module(_CLIENT)  # while the children start: what follows is a client in this process
    address = _reachable(Address.from_string(launcher.listening_address(_SCHEDULER)))
    launcher.start(_CLUSTER, _TARGETS[_CLUSTER], replace(cluster, scheduler_address=address))
    return address


def _reachable(address: Address) -> Address:
    """Return where this machine reaches a scheduler that listens on every interface."""
    if not address.is_wildcard:
        return address
    return replace(address, host="::1" if ":" in address.host else "127.0.0.1")


def _shut_down(launcher: Launcher, owner_pid: int) -> None:
    if os.getpid() != owner_pid:  # a forked child inherits the object, not what it stands for
        return
    for name in (_CLUSTER, _SCHEDULER):
        launcher.signal(name, signal.SIGTERM)
        launcher.wait_ended(name, STOP_SECONDS)
    launcher.close()
