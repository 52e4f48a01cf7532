"""The command `scaler_cluster`."""

from typing import NoReturn

from scaler_cluster.config import ClusterConfig
from scaler_runtime.command import run_command


def main() -> NoReturn:
    """Run the command."""
    run_command("scaler_cluster", "cluster", ClusterConfig, _run)


def _run(config: ClusterConfig) -> int:
    from scaler_cluster.server import run

    return run(config)


if __name__ == "__main__":
    main()
