"""The options of `scaler_cluster`."""

from dataclasses import dataclass, field
from typing import Annotated

from scaler_runtime.config import ConfigError, Option, Options, at_least
from scaler_runtime.options import (
    USUAL_NUMBER_OF_WORKERS,
    ConnectAddress,
    LoggingConfig,
    ObjectStorageOverride,
    Preload,
    ProcessConfig,
    WorkerConfig,
    WorkerNames,
    usual_number_of_workers,
)


@dataclass(frozen=True)
class ClusterConfig(Options):
    """Starts a fixed number of workers on this machine and ends when the last of them has ended."""

    scheduler_address: ConnectAddress
    object_storage_address: ObjectStorageOverride = None
    preload: Preload = None
    worker_names: Annotated[
        WorkerNames,
        Option(
            "one name for each worker, separated by commas", "-wn", default_text="the short name of this host for all"
        ),
    ] = field(default_factory=WorkerNames)
    num_of_workers: Annotated[
        int, Option("number of workers", "-n", at_least(0), default_text=USUAL_NUMBER_OF_WORKERS)
    ] = field(default_factory=usual_number_of_workers)
    worker_config: WorkerConfig = field(default_factory=WorkerConfig)
    process_config: ProcessConfig = field(default_factory=ProcessConfig)
    logging_config: LoggingConfig = field(default_factory=LoggingConfig)

    def __post_init__(self) -> None:
        """Check the options, and that names and workers are equally many."""
        super().__post_init__()
        names, workers = len(self.worker_names), self.num_of_workers
        if names and names != workers:
            raise ConfigError(
                f"worker_names has {names} names, num_of_workers is {workers}: they must be equally many",
                "worker_names",
                "num_of_workers",
            )
