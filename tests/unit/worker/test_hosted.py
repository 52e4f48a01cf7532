"""How long tasks have run."""

from scaler_worker.hosted import STARTING, Hosted, WorkerStatus
from scaler_worker.record import SLICE, STARTED, STARTED_TASK, TASK
from tests.unit.worker.stage import new_record


def hosted():
    return Hosted("W", "g", {}, 2, 0, new_record())


def test_the_time_is_exact_where_the_start_is_known():
    worker = hosted()
    assert worker.seconds_running(10.0) == 0.0
    worker.record.numbers[TASK] = worker.record.numbers[STARTED_TASK] = 4
    worker.record.seconds[STARTED] = 9.5
    worker.record.numbers[SLICE] = 1
    assert worker.seconds_running(10.0) == 0.5


def test_else_it_counts_from_when_the_task_was_seen():
    worker = hosted()
    worker.record.numbers[SLICE], worker.record.numbers[TASK] = 1, 4
    assert worker.seconds_running(10.0) == 0.0
    assert worker.seconds_running(10.4) == 10.4 - 10.0
    worker.record.numbers[TASK] = 5
    assert worker.seconds_running(11.0) == 0.0
    worker.record.numbers[SLICE] = 2
    assert worker.seconds_running(12.0) == 0.0
    worker.record.numbers[SLICE] = 0
    assert worker.seconds_running(13.0) == 0.0


def test_others_see_its_status():
    worker = hosted()
    assert worker.status == WorkerStatus("W", "g", STARTING, "", None, 2)
    assert worker.key == "W 2"


def test_time_for_which_it_is_suspended_does_not_count():
    worker = hosted()
    worker.record.numbers[SLICE], worker.record.numbers[TASK] = 1, 4
    worker.seconds_running(10.0, 5.0)
    assert worker.seconds_running(12.0, 1.5) == 0.5
    assert worker.seconds_running(13.0) == 1.5
    worker.record.numbers[TASK] = 5
    assert worker.seconds_running(14.0, 1.0) == 0.0
    assert worker.seconds_running(15.0) == 1.0
