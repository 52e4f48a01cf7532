"""The options of `scaler_cluster`."""

from dataclasses import dataclass, field

from scaler._packages import installed
from scaler.config import defaults
from scaler.config._convert import convert
from scaler.config.types.object_storage_server import ObjectStorageAddressConfig
from scaler.config.types.zmq import ZMQConfig

with installed(__name__):
    from scaler_cluster import config as options
    from scaler_runtime.options import LoggingConfig, WorkerConfig, WorkerNames


@dataclass
class ClusterConfig:
    """The options of the command, with its defaults."""

    scheduler_address: ZMQConfig
    object_storage_address: ObjectStorageAddressConfig | None = None
    preload: str | None = None
    worker_names: WorkerNames = field(default_factory=WorkerNames)
    num_of_workers: int = defaults.DEFAULT_NUMBER_OF_WORKER
    event_loop: str = "builtin"
    worker_io_threads: int = defaults.DEFAULT_IO_THREADS
    worker_config: WorkerConfig = field(default_factory=WorkerConfig)
    logging_config: LoggingConfig = field(default_factory=LoggingConfig)

    def __post_init__(self) -> None:
        """Check it: `ValueError` for values that are not allowed."""
        self.to_options()

    def to_options(self) -> options.ClusterConfig:
        """Return the same as options of our command."""
        return convert(self, options.ClusterConfig)
