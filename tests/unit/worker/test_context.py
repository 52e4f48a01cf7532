"""What a task may ask about its place."""

from scaler_client.context import TaskContext, task_id_of
from scaler_worker.context import RunningContext
from scaler_worker.record import TASK
from scaler_worker.workload import Piece
from tests.unit.worker.stage import function, new_record, values


def test_it_follows_what_runs():
    record = new_record()
    context = RunningContext(record, "tcp://scheduler:1", "tcp://storage:2")
    context.enter(Piece.of(values([1, 2], priority=3), function(abs)))
    record.numbers[TASK] = 1
    assert isinstance(context, TaskContext)
    assert (context.scheduler_address, context.object_storage_address) == ("tcp://scheduler:1", "tcp://storage:2")
    assert (context.priority, context.task_id) == (3, task_id_of(b"Client|1", 3, 1))
    record.numbers[TASK] = 0
    assert context.task_id == task_id_of(b"Client|1", 3, 0)
