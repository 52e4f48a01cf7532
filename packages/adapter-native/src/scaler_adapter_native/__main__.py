"""The command `scaler_worker_adapter_native`."""

from typing import NoReturn

from scaler_adapter_native.config import NativeWorkerAdapterConfig
from scaler_runtime.command import run_command


def main() -> NoReturn:
    """Run the command."""
    run_command("scaler_worker_adapter_native", "native_worker_adapter", NativeWorkerAdapterConfig, _run)


def _run(config: NativeWorkerAdapterConfig) -> int:
    from scaler_adapter_native.server import run

    return run(config)


if __name__ == "__main__":
    main()
