"""The command `scaler_top`."""

from scaler_runtime.early_signals import end_when_asked


def main() -> None:
    """Run the command."""
    end_when_asked()
    from scaler_runtime.command import run_command
    from scaler_scheduler.top.config import TopConfig

    def start(config: TopConfig) -> int:
        from scaler_scheduler.top.program import run

        return run(config)

    run_command("scaler_top", "top", TopConfig, start)


if __name__ == "__main__":
    main()
