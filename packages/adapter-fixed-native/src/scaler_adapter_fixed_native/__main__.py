"""The command `scaler_worker_adapter_fixed_native`."""

from typing import NoReturn

from scaler_adapter_fixed_native.config import FixedNativeWorkerAdapterConfig
from scaler_runtime.command import run_command


def main() -> NoReturn:
    """Run the command."""
    run_command(
        "scaler_worker_adapter_fixed_native", "fixed_native_worker_adapter", FixedNativeWorkerAdapterConfig, _run
    )


def _run(config: FixedNativeWorkerAdapterConfig) -> int:
    from scaler_adapter_fixed_native.server import run

    return run(config)


if __name__ == "__main__":
    main()
