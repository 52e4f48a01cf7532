"""The options of `scaler_scheduler`."""

from dataclasses import dataclass, field

from scaler._packages import installed
from scaler.config import defaults
from scaler.config._convert import convert
from scaler.config.types.object_storage_server import ObjectStorageAddressConfig
from scaler.config.types.zmq import ZMQConfig

with installed(__name__):
    from scaler_runtime.options import LoggingConfig
    from scaler_scheduler import config as options
    from scaler_scheduler.config import PolicyConfig


__all__ = ["PolicyConfig", "SchedulerConfig"]


@dataclass
class SchedulerConfig:
    """The options of the command, with its defaults."""

    scheduler_address: ZMQConfig
    object_storage_address: ObjectStorageAddressConfig | None = None
    monitor_address: ZMQConfig | None = None
    protected: bool = False
    max_number_of_tasks_waiting: int = defaults.DEFAULT_MAX_NUMBER_OF_TASKS_WAITING
    client_timeout_seconds: int = defaults.DEFAULT_CLIENT_TIMEOUT_SECONDS
    worker_timeout_seconds: int = defaults.DEFAULT_WORKER_TIMEOUT_SECONDS
    object_retention_seconds: int = defaults.DEFAULT_OBJECT_RETENTION_SECONDS
    load_balance_seconds: int = defaults.DEFAULT_LOAD_BALANCE_SECONDS
    load_balance_trigger_times: int = defaults.DEFAULT_LOAD_BALANCE_TRIGGER_TIMES
    event_loop: str = "builtin"
    worker_io_threads: int = defaults.DEFAULT_IO_THREADS
    logging_config: LoggingConfig = field(default_factory=LoggingConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    task_retry_limit: int = 3

    def __post_init__(self) -> None:
        """Check it: `ValueError` for values that are not allowed."""
        self.to_options()

    def to_options(self) -> options.SchedulerConfig:
        """Return the same as options of our command."""
        return convert(self, options.SchedulerConfig)
