"""The object storage in a process of its own."""

from collections.abc import Sequence

from scaler._packages import installed
from scaler.config.types.object_storage_server import ObjectStorageAddressConfig

with installed(__name__):
    from scaler_cluster.process import ProgramProcess
    from scaler_object_storage import server
    from scaler_object_storage.config import ObjectStorageConfig
    from scaler_protocol.addresses import Address
    from scaler_runtime.options import LoggingConfig


class ObjectStorageServerProcess(ProgramProcess):
    """What `scaler_object_storage_server` runs, with a log where it is wanted."""

    def __init__(
        self,
        object_storage_address: ObjectStorageAddressConfig,
        logging_paths: Sequence[str],
        logging_level: str,
        logging_config_file: str | None,
    ) -> None:
        self._options = ObjectStorageConfig(Address.from_string(str(object_storage_address)))
        self._logging = LoggingConfig(tuple(logging_paths), logging_config_file, logging_level)
        self._is_ready = False
        super().__init__("object storage", "scaler_object_storage.server:run_child", (self._options, self._logging))

    def wait_until_ready(self) -> None:
        """Return when it accepts connections; `StartError` with one line if it cannot."""
        if not self._is_ready:
            self.wait_listening()
            self._is_ready = True

    def run(self) -> int:
        """Serve from this process until told to stop; returns the exit code of the command."""
        return server.run(self._options)
