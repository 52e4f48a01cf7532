"""How many groups of several workers an adapter may have: users count workers."""

from scaler_runtime.config import ConfigError
from scaler_runtime.options import WorkerAdapterConfig


def most_groups(adapter: WorkerAdapterConfig, workers_per_group: int) -> int:
    """Return most groups at a time, -1 without limit; `ConfigError` where there is no room for a single one."""
    most = adapter.max_workers
    if 0 < most < workers_per_group:
        raise ConfigError(
            f"max_workers must be at least workers_per_group, {workers_per_group}, not {most}",
            "max_workers",
            "workers_per_group",
        )
    return most if most < 0 else most // workers_per_group
