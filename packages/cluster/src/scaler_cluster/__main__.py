"""The command `scaler_cluster`."""

from scaler_runtime.early_signals import end_when_asked


def main() -> None:
    """Run the command."""
    end_when_asked()
    from scaler_cluster.config import ClusterConfig
    from scaler_runtime.command import run_command

    def start(config: ClusterConfig) -> int:
        from scaler_cluster.server import run

        return run(config)

    run_command("scaler_cluster", "cluster", ClusterConfig, start)


if __name__ == "__main__":
    main()
