"""What a scheduler's core is told at its start: limits and patience. Seconds are of the core's own clock."""

from dataclasses import dataclass

from scaler_scheduler.policies.registry import Policies


@dataclass(frozen=True, slots=True)
class Settings:
    """See contract of the command: each field is the option of the same name, or follows from it."""

    policies: Policies
    address: str
    """Where peers reach the scheduler, for hints."""
    protected: bool = False
    max_number_of_tasks_waiting: int = -1
    worker_timeout_seconds: float = 60.0
    task_retry_limit: int = 3
    max_unfinished_tasks: int = 0
    """The credit of each client; 0: no limit."""
    max_unfinished_bytes: int = 0
    object_retention_seconds: float = 60.0
    load_balance_seconds: float = 1.0
    load_balance_trigger_times: int = 2
    id_prefix: str = "g"
    """Begins the ids of worker groups; different for each scheduler instance, so that ids are never used again."""
    first_slice_id: int = 0
    """Slices are counted from here; different for each scheduler instance: workers may still run slices of another."""
    resumption_seconds: float = 4.0
    """Two heartbeats: so long after its start tasks that another scheduler had may wait for who runs them still."""
    settling_seconds: float = 10.0
    """A new scheduler scales nothing down before that: adapters and workers of the one before may still come back."""
    no_worker_seconds: float = 5.0
    """Tasks that wait so long without any worker make a warning."""
