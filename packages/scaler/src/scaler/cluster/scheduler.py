"""The scheduler: in a process of its own, or in this one."""

from collections.abc import Sequence

from scaler._packages import installed
from scaler.config.section.scheduler import PolicyConfig, SchedulerConfig
from scaler.config.types.object_storage_server import ObjectStorageAddressConfig
from scaler.config.types.zmq import ZMQConfig

with installed(__name__):
    from scaler_cluster.process import ProgramProcess
    from scaler_runtime.options import LoggingConfig
    from scaler_scheduler import config as options


class Scheduler:
    """What `scaler_scheduler` runs."""

    def __init__(self, config: SchedulerConfig | options.SchedulerConfig) -> None:
        self.config = config.to_options() if isinstance(config, SchedulerConfig) else config

    def run(self) -> int:
        """Serve from this process until told to stop; returns the exit code of the command."""
        from scaler_scheduler.server import run

        return run(self.config)


class SchedulerProcess(ProgramProcess):
    """A scheduler in a child process."""

    def __init__(  # noqa: PLR0917 - the promised signature
        self,
        address: ZMQConfig,
        object_storage_address: ObjectStorageAddressConfig | None,
        monitor_address: ZMQConfig | None,
        io_threads: int,
        max_number_of_tasks_waiting: int,
        client_timeout_seconds: int,
        worker_timeout_seconds: int,
        object_retention_seconds: int,
        load_balance_seconds: int,
        load_balance_trigger_times: int,
        protected: bool,
        policy: PolicyConfig,
        event_loop: str,
        logging_paths: Sequence[str],
        logging_config_file: str | None,
        logging_level: str,
    ) -> None:
        self._scheduler = Scheduler(
            SchedulerConfig(
                scheduler_address=address,
                object_storage_address=object_storage_address,
                monitor_address=monitor_address,
                protected=protected,
                max_number_of_tasks_waiting=max_number_of_tasks_waiting,
                client_timeout_seconds=client_timeout_seconds,
                worker_timeout_seconds=worker_timeout_seconds,
                object_retention_seconds=object_retention_seconds,
                load_balance_seconds=load_balance_seconds,
                load_balance_trigger_times=load_balance_trigger_times,
                event_loop=event_loop,
                worker_io_threads=io_threads,
                logging_config=LoggingConfig(tuple(logging_paths), logging_config_file, logging_level),
                policy=policy,
            )
        )
        super().__init__("scheduler", "scaler_scheduler.server:run_child", self._scheduler.config)

    def run(self) -> int:
        """Serve from this process until told to stop; returns the exit code of the command."""
        return self._scheduler.run()
