"""The program that an engine runs for one worker group, as arguments: `python -m scaler_worker.group`.

It comes with scaler-worker, which an adapter does not need itself; its options are those that both share.
"""

from collections.abc import Iterator
from typing import Final

from scaler_runtime.config import Options, option_fields
from scaler_runtime.options import SCREEN, LoggingConfig, ProcessConfig, WorkerAdapterConfig, WorkerConfig

GROUP_MODULE: Final = "scaler_worker.group"
MISSING_MODULE: Final = "No module named 'scaler_worker'"
"""What Python says where scaler-worker is not installed."""
OUT_OF_MEMORY: Final = "out-of-memory kills in its control group: "
"""What the program says with a number, where a worker was killed and that can be read."""


def group_arguments(  # noqa: PLR0917 - the options of a program
    group_id: str,
    name: str,
    workers: int,
    adapter: WorkerAdapterConfig,
    worker_config: WorkerConfig,
    process_config: ProcessConfig,
    *,
    preload: str | None,
    logging_level: str,
) -> list[str]:
    """Return what follows `python -m scaler_worker.group`. It logs to its standard output, which is the engine's."""
    arguments = [
        str(adapter.scheduler_address),
        group_id,
        f"--name={name}",
        f"--num-of-workers={workers}",
        f"--logging-paths={SCREEN}",
        f"--logging-level={logging_level}",
        *_written(worker_config),
        *_written(process_config),
    ]
    if adapter.object_storage_address is not None:
        arguments.append(f"--object-storage-address={adapter.object_storage_address}")
    if preload is not None:
        arguments.append(f"--preload={preload}")
    return arguments


def group_variables() -> list[str]:
    """Return the environment variables that the program would read: those of the adapter must not reach it."""
    own = ("group_id", "name", "num_of_workers", "preload")
    fields = [
        item
        for group in (WorkerAdapterConfig, WorkerConfig, ProcessConfig, LoggingConfig)
        for item in option_fields(group)
    ]
    return [*(item.variable for item in fields), *(f"SCALER_{key.upper()}" for key in own)]


def _written(options: Options) -> Iterator[str]:
    """Write every option of a group as a user would; a switch only where it is on."""
    for item in option_fields(type(options)):
        value = getattr(options, item.path[0])
        if item.kind is not bool:
            yield f"{item.flag}={value}"
        elif value:
            yield item.flag
