"""The options of the program that runs one worker group: what the job of a batch system, or a container, is told."""

from dataclasses import dataclass, field
from typing import Annotated

from scaler_protocol.identifiers import short_host_name
from scaler_runtime.config import Option, Options, at_least
from scaler_runtime.options import (
    ConnectAddress,
    LoggingConfig,
    ObjectStorageOverride,
    Preload,
    ProcessConfig,
    WorkerConfig,
)


@dataclass(frozen=True)
class WorkerGroupConfig(Options):
    """Runs the workers of one group on this machine and ends when the last of them has ended."""

    scheduler_address: ConnectAddress
    group_id: Annotated[str, Option("the group, as the adapter was asked for it", positional=True)]
    object_storage_address: ObjectStorageOverride = None
    preload: Preload = None
    name: Annotated[
        str, Option("what the workers' ids say beside their digits", "-wn", default_text="the short name of this host")
    ] = field(default_factory=short_host_name)
    num_of_workers: Annotated[int, Option("number of workers", "-n", at_least(1))] = 1
    worker_config: WorkerConfig = field(default_factory=WorkerConfig)
    process_config: ProcessConfig = field(default_factory=ProcessConfig)
    logging_config: LoggingConfig = field(default_factory=LoggingConfig)
