"""What tasks may ask about their place, made once for a process: most tasks never ask."""

from scaler_client import context
from scaler_client.agent import go_on_all
from scaler_client.context import TaskContext, task_id_of
from scaler_worker.record import TASK, Record
from scaler_worker.workload import Piece


class RunningContext(TaskContext):
    """The context of whatever runs."""

    __slots__ = ("_batch", "_record")

    def __init__(self, record: Record, scheduler_address: str, object_storage_address: str) -> None:
        self._record = record.numbers
        self._batch = (b"", 0)
        super().__init__(scheduler_address, 0, b"", object_storage_address)

    def enter(self, piece: Piece) -> None:
        """Stand for the tasks of a slice from now on."""
        assigned = piece.assigned
        self._batch = (assigned.client_id, assigned.batch_id)
        self.priority = assigned.priority
        if context.home is not None and context.home.given_up:  # that was about the task before
            context.home.given_up = ""
            go_on_all()

    @property
    def task_id(self) -> bytes:
        """The running task, as its client knows it."""
        return task_id_of(*self._batch, self._record[TASK])

    @task_id.setter
    def task_id(self, _value: bytes) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Accept what the constructor sets."""
