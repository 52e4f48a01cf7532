"""The command `scaler_scheduler`."""

from scaler_runtime.early_signals import end_when_asked


def main() -> None:
    """Run the command."""
    end_when_asked()
    from scaler_runtime.command import run_command
    from scaler_scheduler.config import SchedulerConfig

    def start(config: SchedulerConfig) -> int:
        from scaler_scheduler.server import run

        return run(config)

    run_command("scaler_scheduler", "scheduler", SchedulerConfig, start, aliases={"-e": "event_loop"})


if __name__ == "__main__":
    main()
