"""The options of `scaler_worker_adapter_native`."""

from dataclasses import dataclass, field

from scaler_runtime.config import Options
from scaler_runtime.options import LoggingConfig, Preload, ProcessConfig, WorkerAdapterConfig, WorkerConfig


@dataclass(frozen=True)
class NativeWorkerAdapterConfig(Options):
    """Starts workers on this machine when the scheduler asks, each a group of its own."""

    worker_adapter_config: WorkerAdapterConfig
    preload: Preload = None
    worker_config: WorkerConfig = field(default_factory=WorkerConfig)
    logging_config: LoggingConfig = field(default_factory=LoggingConfig)
    process_config: ProcessConfig = field(default_factory=ProcessConfig)
