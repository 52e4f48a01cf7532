"""The command `scaler_worker_adapter_slurm`."""

from scaler_runtime.early_signals import end_when_asked


def main() -> None:
    """Run the command."""
    end_when_asked()
    from scaler_adapter_slurm.config import SlurmWorkerAdapterConfig
    from scaler_runtime.command import run_command

    def start(config: SlurmWorkerAdapterConfig) -> int:
        from scaler_adapter_slurm.server import run

        return run(config)

    run_command("scaler_worker_adapter_slurm", "slurm_worker_adapter", SlurmWorkerAdapterConfig, start)


if __name__ == "__main__":
    main()
