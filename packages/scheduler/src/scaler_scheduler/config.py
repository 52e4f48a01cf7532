"""The options of `scaler_scheduler`."""

from dataclasses import dataclass, field
from typing import Annotated

from scaler_protocol.addresses import Address
from scaler_runtime.config import ConfigError, Option, Options, at_least, one_of
from scaler_runtime.options import AN_ADDRESS, CONNECTABLE, LoggingConfig, ProcessConfig


@dataclass(frozen=True)
class PolicyConfig(Options):
    """Who gets which task, and how many workers there shall be."""

    policy_engine_type: Annotated[str, Option("kind of policy", "-et", one_of("simple"))] = "simple"
    policy_content: Annotated[str, Option("allocate=... and scaling=..., with a semicolon between them", "-pc")] = (
        "allocate=even_load; scaling=no"
    )

    def __post_init__(self) -> None:
        """Check the options, and that the policy is one."""
        super().__post_init__()
        from scaler_scheduler.policies.registry import parse_policy

        try:
            parse_policy(self.policy_content)
        except ValueError as error:
            raise ConfigError(f"policy_content: {error}", "policy_content") from None


@dataclass(frozen=True)
class SchedulerConfig(Options):
    """Accepts tasks, hands them to workers, and decides how many workers there shall be."""

    scheduler_address: Annotated[
        Address, Option("where to listen; port 0: any free one", positional=True, allowed=AN_ADDRESS)
    ]
    object_storage_address: Annotated[
        Address | None,
        Option("object storage that runs already", "-osa", CONNECTABLE, default_text="one is started at port + 1"),
    ] = None
    monitor_address: Annotated[
        Address | None, Option("where to listen for monitors", "-ma", AN_ADDRESS, default_text="port + 2")
    ] = None
    protected: Annotated[bool, Option("refuse client shutdown", "-p")] = False
    max_number_of_tasks_waiting: Annotated[
        int,
        Option(
            "most ready tasks that may wait for a worker, -1 without limit",
            "-mt",
            at_least(-1),
            default_text="-1 (unlimited)",
        ),
    ] = -1
    client_timeout_seconds: Annotated[int, Option("a client silent this long has vanished", "-ct", at_least(1))] = 60
    worker_timeout_seconds: Annotated[int, Option("a worker silent this long is dead", "-wt", at_least(1))] = 60
    object_retention_seconds: Annotated[
        int, Option("how long a vanished client's objects and functions are kept", "-ot", at_least(1))
    ] = 60
    load_balance_seconds: Annotated[int, Option("balancing period", "-ls", at_least(1))] = 1
    load_balance_trigger_times: Annotated[
        int, Option("repetitions before an unchanged plan is applied again", "-lbt", at_least(1))
    ] = 2
    process_config: ProcessConfig = field(default_factory=ProcessConfig)
    logging_config: LoggingConfig = field(default_factory=LoggingConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    task_retry_limit: Annotated[int, Option("retries of a task whose worker died under it", "-trl", at_least(0))] = 3
