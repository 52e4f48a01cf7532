"""What a running task may ask about its place."""

from dataclasses import dataclass
from typing import Self

from scaler._packages import installed
from scaler.config.types.zmq import ZMQConfig

with installed(__name__):
    from scaler_client import context


@dataclass(frozen=True)
class CurrentTask:
    """The task that runs in this process."""

    task_id: bytes
    priority: int


class Processor:
    """The process that runs a task, as the task sees it."""

    def __init__(self, around: context.TaskContext) -> None:
        self._context = around

    @classmethod
    def get_current_processor(cls) -> Self | None:
        """Return the processor of the running task, None outside a task."""
        around = context.get()
        return None if around is None else cls(around)

    def scheduler_address(self) -> ZMQConfig:
        """Return the address of the worker's scheduler."""
        return ZMQConfig.from_string(self._context.scheduler_address)

    def current_task(self) -> CurrentTask:
        """Return the running task."""
        return CurrentTask(self._context.task_id, self._context.priority)
