"""The adapter that starts worker processes on its own machine, on demand."""

from scaler._packages import installed
from scaler.config.section.native_worker_adapter import NativeWorkerAdapterConfig

with installed(__name__):
    from scaler_adapter_native import server


class NativeWorkerAdapter:
    """What `scaler_worker_adapter_native` runs."""

    def __init__(self, config: NativeWorkerAdapterConfig) -> None:
        self._config = config.to_options()

    def run(self) -> int:
        """Serve the scheduler from this process until told to stop; returns the exit code of the command."""
        return server.run(self._config)
