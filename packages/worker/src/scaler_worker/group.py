"""Runs the workers of one group until they are to stop: `python -m scaler_worker.group ADDRESS GROUP`.

What an adapter for an engine that is not this machine has the engine run. On SIGTERM the workers finish what they run,
for up to five seconds; on SIGUSR2, which batch systems send before a job's time is up, however long that takes.
"""

from scaler_runtime.early_signals import end_when_asked


def main() -> None:
    """Run the program."""
    # As the first process of a container it would not even hear a signal that it does not handle.
    end_when_asked()
    from scaler_runtime.command import run_command
    from scaler_worker.config import WorkerGroupConfig

    def start(config: WorkerGroupConfig) -> int:
        from scaler_worker.group_server import run

        return run(config)

    run_command("scaler_worker.group", "worker_group", WorkerGroupConfig, start)


if __name__ == "__main__":
    main()
