"""The command `scaler_worker_adapter_native`."""

from scaler_runtime.early_signals import end_when_asked


def main() -> None:
    """Run the command."""
    end_when_asked()
    from scaler_adapter_native.config import NativeWorkerAdapterConfig
    from scaler_runtime.command import run_command

    def start(config: NativeWorkerAdapterConfig) -> int:
        from scaler_adapter_native.server import run

        return run(config)

    run_command("scaler_worker_adapter_native", "native_worker_adapter", NativeWorkerAdapterConfig, start)


if __name__ == "__main__":
    main()
