"""The command `scaler_scheduler`."""

from typing import NoReturn

from scaler_runtime.command import run_command
from scaler_scheduler.config import SchedulerConfig


def main() -> NoReturn:
    """Run the command."""
    run_command("scaler_scheduler", "scheduler", SchedulerConfig, _run, aliases={"-e": "event_loop"})


def _run(config: SchedulerConfig) -> int:
    from scaler_scheduler.server import run

    return run(config)


if __name__ == "__main__":
    main()
