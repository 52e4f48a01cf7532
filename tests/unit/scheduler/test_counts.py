"""Tasks are counted into every state they come into, whatever becomes of them."""

from scaler_protocol.batch import Status
from scaler_scheduler.core.counts import TaskCounts
from tests.unit.scheduler.builders import Bench


def counted(bench):
    """Return the counts that are not zero."""
    counts = bench.state.counts
    return {name: getattr(counts, name) for name in counts.__slots__ if getattr(counts, name)}


def test_a_task_that_succeeds():
    bench = Bench()
    client = bench.client()
    client.submit(3)
    assert counted(bench) == {"inactive": 3}

    bench.worker().complete_all()

    assert counted(bench) == {"inactive": 3, "running": 3, "success": 3}


def test_exceptions_exits_and_dead_processes_are_failures():
    counts = TaskCounts()
    counts.add_results(bytes([Status.VALUES, Status.EXCEPTION, Status.EXITED, Status.PROCESSOR_DIED]), [5, 1, 1, 1], 8)
    counts.add_ended(Status.TIMED_OUT, 1)

    assert (counts.success, counts.failed) == (5, 4)


def test_a_waiting_task_that_is_cancelled_and_one_that_is_unknown():
    bench = Bench()
    client = bench.client()
    batch = client.submit(2)
    client.cancel(batch, 1, 3)  # of these only task 1 exists
    client.cancel(99)

    assert counted(bench) == {"inactive": 2, "canceled": 1, "canceled_not_found": 3}


def test_a_running_task_that_is_cancelled():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = client.submit(1)
    client.cancel(batch)
    client.cancel(batch)
    worker.give_back()
    worker.end("cancelled", 15)

    assert client.statuses(batch) == [Status.CANCELLED]
    ended = {"inactive": 1, "running": 1, "canceling": 1, "worker_disconnecting": 1, "canceled": 1}
    assert counted(bench) == ended


def test_a_result_that_came_before_the_cancel():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = client.submit(1)
    client.cancel(batch)
    worker.complete()

    assert counted(bench) == {"inactive": 1, "running": 1, "canceling": 1, "success": 1}


def test_tasks_that_their_client_drops_are_cancelled():
    bench = Bench()
    client = bench.client()
    bench.worker()
    batch = client.submit(4)
    client.abandon(batch)

    assert bench.state.counts.canceled == 4


def test_a_worker_that_dies_and_the_retry_limit():
    bench = Bench(task_retry_limit=1)
    client, worker = bench.client(), bench.worker()
    client.submit(1)
    worker.end()
    worker.end()

    assert counted(bench) == {"inactive": 2, "running": 2, "worker_disconnecting": 2, "failed_worker_died": 1}


def test_tasks_that_are_asked_back():
    bench = Bench()
    client = bench.client()
    worker = bench.worker()
    client.submit(2)
    asked = worker.held
    worker.host.report(**{worker.worker_id: "draining"})
    assert bench.state.counts.balance_canceling == asked

    worker.give_back()

    assert bench.state.counts.inactive == 2 + asked - 1
