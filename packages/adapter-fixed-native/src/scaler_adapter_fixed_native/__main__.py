"""The command `scaler_worker_adapter_fixed_native`."""

from scaler_runtime.early_signals import end_when_asked


def main() -> None:
    """Run the command."""
    end_when_asked()
    from scaler_adapter_fixed_native.config import FixedNativeWorkerAdapterConfig
    from scaler_runtime.command import run_command

    def start(config: FixedNativeWorkerAdapterConfig) -> int:
        from scaler_adapter_fixed_native.server import run

        return run(config)

    run_command(
        "scaler_worker_adapter_fixed_native", "fixed_native_worker_adapter", FixedNativeWorkerAdapterConfig, start
    )


if __name__ == "__main__":
    main()
