"""The command `scaler_worker_adapter_container`."""

from scaler_runtime.early_signals import end_when_asked


def main() -> None:
    """Run the command."""
    end_when_asked()
    from scaler_adapter_container.config import ContainerWorkerAdapterConfig
    from scaler_runtime.command import run_command

    def start(config: ContainerWorkerAdapterConfig) -> int:
        from scaler_adapter_container.server import run

        return run(config)

    run_command("scaler_worker_adapter_container", "container_worker_adapter", ContainerWorkerAdapterConfig, start)


if __name__ == "__main__":
    main()
