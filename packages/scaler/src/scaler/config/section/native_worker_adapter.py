"""The options of `scaler_worker_adapter_native`."""

from dataclasses import dataclass, field

from scaler._packages import installed
from scaler.config import defaults
from scaler.config._convert import convert
from scaler.config.common.worker_adapter import WorkerAdapterConfig

with installed(__name__):
    from scaler_adapter_native import config as options
    from scaler_runtime.options import LoggingConfig, WorkerConfig


@dataclass
class NativeWorkerAdapterConfig:
    """The options of the command, with its defaults."""

    worker_adapter_config: WorkerAdapterConfig
    preload: str | None = None
    worker_config: WorkerConfig = field(default_factory=WorkerConfig)
    logging_config: LoggingConfig = field(default_factory=LoggingConfig)
    event_loop: str = "builtin"
    worker_io_threads: int = defaults.DEFAULT_IO_THREADS

    def __post_init__(self) -> None:
        """Check it: `ValueError` for values that are not allowed."""
        self.to_options()

    def to_options(self) -> options.NativeWorkerAdapterConfig:
        """Return the same as options of our command."""
        return convert(self, options.NativeWorkerAdapterConfig)
