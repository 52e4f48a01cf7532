"""What an object storage is told that a scheduler starts beside itself. Light: the scheduler imports it too."""

from dataclasses import dataclass, field

from scaler_object_storage.config import ObjectStorageConfig
from scaler_runtime.options import LoggingConfig, ProcessConfig


@dataclass(frozen=True, slots=True)
class Hosted:
    """Options of the scheduler's that hold for its object storage as well, and who else counts on the objects."""

    config: ObjectStorageConfig
    logging_config: LoggingConfig = field(default_factory=LoggingConfig)
    process_config: ProcessConfig = field(default_factory=ProcessConfig)
    heir_pid: int | None = None
    """Who would start another scheduler at the address: when it is gone as well, nobody comes back for the objects.

    None: somebody may.
    """
