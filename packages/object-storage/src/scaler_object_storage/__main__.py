"""The command `scaler_object_storage_server`."""

from typing import NoReturn

from scaler_object_storage.config import ObjectStorageConfig
from scaler_runtime.command import run_command


def main() -> NoReturn:
    """Run the command."""
    run_command("scaler_object_storage_server", "object_storage_server", ObjectStorageConfig, _run)


def _run(config: ObjectStorageConfig) -> int:
    from scaler_object_storage.server import run

    return run(config)


if __name__ == "__main__":
    main()
