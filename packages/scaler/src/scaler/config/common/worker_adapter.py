"""What both adapters that start workers on this machine are told."""

from dataclasses import dataclass

from scaler._packages import installed
from scaler.config._convert import convert
from scaler.config.defaults import DEFAULT_NUMBER_OF_WORKER
from scaler.config.types.object_storage_server import ObjectStorageAddressConfig
from scaler.config.types.zmq import ZMQConfig

with installed(__name__):
    from scaler_runtime import options


@dataclass
class WorkerAdapterConfig:
    """Which scheduler an adapter serves, and how many workers it may have."""

    scheduler_address: ZMQConfig
    object_storage_address: ObjectStorageAddressConfig | None = None
    max_workers: int = DEFAULT_NUMBER_OF_WORKER

    def __post_init__(self) -> None:
        """Check it: `ValueError` for values that are not allowed."""
        self.to_options()

    def to_options(self) -> options.WorkerAdapterConfig:
        """Return the same as options of our commands."""
        return convert(self, options.WorkerAdapterConfig)
