"""The options of `scaler_worker_adapter_fixed_native`."""

from dataclasses import dataclass, field
from typing import Annotated

from scaler_runtime.config import ConfigError, Option, Options
from scaler_runtime.options import LoggingConfig, Preload, ProcessConfig, WorkerAdapterConfig, WorkerConfig


@dataclass(frozen=True)
class FixedNativeWorkerAdapterConfig(Options):
    """Starts a constant number of workers on this machine at once; the scheduler never scales them."""

    worker_adapter_config: WorkerAdapterConfig
    preload: Preload = None
    worker_config: WorkerConfig = field(default_factory=WorkerConfig)
    logging_config: LoggingConfig = field(default_factory=LoggingConfig)
    process_config: ProcessConfig = field(default_factory=ProcessConfig)
    restart: Annotated[bool, Option("start a worker that was killed from outside again, with growing pauses", "-r")] = (
        False
    )

    def __post_init__(self) -> None:
        """Check the options; a constant number has no -1."""
        super().__post_init__()
        number = self.worker_adapter_config.max_workers
        if number < 0:
            raise ConfigError(f"max_workers must be a whole number >= 0, not {number}", "max_workers")
