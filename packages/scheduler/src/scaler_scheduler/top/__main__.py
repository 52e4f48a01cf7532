"""The command `scaler_top`."""

from typing import NoReturn

from scaler_runtime.command import run_command
from scaler_scheduler.top.config import TopConfig


def main() -> NoReturn:
    """Run the command."""
    run_command("scaler_top", "top", TopConfig, _run)


def _run(config: TopConfig) -> int:
    from scaler_scheduler.top.program import run

    return run(config)


if __name__ == "__main__":
    main()
