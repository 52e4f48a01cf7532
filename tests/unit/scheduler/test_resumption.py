"""What workers still have of a scheduler before this one, and what clients say again."""

import pytest

from scaler_protocol import messages as m
from scaler_protocol.batch import Status
from tests.unit.scheduler.builders import Bench, results

OLD = b"scheduler before"
SLICE = 7 << 40


@pytest.fixture
def bench():
    return Bench(resumption_seconds=4.0, worker_timeout_seconds=60.0)


def held(start, stop, batch_id=1, slice_id=SLICE, client=b"A"):
    return m.HeldSlice(slice_id, client, batch_id, start, stop)


def answer(worker, start, tasks, slice_id=SLICE, batch_id=1):
    worker.say(results(slice_id, b"A", batch_id, start, tasks))


def test_a_client_that_never_had_another_scheduler_does_not_wait(bench):
    worker, client = bench.worker(), bench.client()
    client.submit(1)

    assert worker.held == 1


def test_what_a_client_says_again_waits_for_the_workers(bench):
    worker, client = bench.worker(), bench.client(before=OLD)
    client.submit(1)
    assert worker.held == 0

    bench.advance(1.6)
    assert worker.held == 1


def test_a_worker_that_has_not_come_back_is_waited_for_a_little_longer(bench):
    host = bench.host()
    worker = bench.worker(host=host)
    host.entries["away"] = m.WorkerReport("away", "", 1, 1, "running")
    host.report()
    bench.client(before=OLD).submit(1)

    bench.advance(3.9)
    assert worker.held == 0
    bench.advance(0.2)
    assert worker.held == 1


def test_long_after_the_start_nobody_waits(bench):
    bench.advance(10.0)
    worker, client = bench.worker(), bench.client(before=OLD)
    client.submit(1)

    assert worker.held == 1


@pytest.mark.parametrize("order", ["worker first", "client first"])
def test_what_runs_is_not_given_out_again(bench, order):
    if order == "worker first":
        worker = bench.worker(held=[held(1, 2)])
        client = bench.client(before=OLD)
        client.submit(2)
    else:
        client = bench.client(before=OLD)
        client.submit(2)
        worker = bench.worker(held=[held(1, 2)])
    other = bench.worker("V")

    bench.advance(2.0)
    assert [span[2:] for span in worker.spans + other.spans] == [(0, 1)]
    assert bench.state.workers["W"].outstanding + bench.state.workers["V"].outstanding == 2
    answer(worker, 1, 1)
    for one in (worker, other):
        one.complete_all()
    assert client.statuses(1) == [Status.VALUE] * 2


def test_outcomes_that_come_before_their_client_wait_for_it(bench):
    worker = bench.worker(held=[held(0, 3)])
    answer(worker, 0, 2)
    client = bench.client(before=OLD)
    client.submit(3)
    assert client.statuses(1) == [Status.VALUE] * 2

    answer(worker, 2, 1)
    assert client.statuses(1) == [Status.VALUE] * 3
    assert bench.state.unfinished_tasks == 0


def test_outcomes_that_the_client_has_already_are_left_out(bench):
    worker = bench.worker(held=[held(0, 4)])
    answer(worker, 0, 3)
    client = bench.client(before=OLD)
    client.submit(4, finished=[0, 2])

    assert sorted(client.outcomes) == [(1, 2)]
    answer(worker, 3, 1)
    assert sorted(client.outcomes) == [(1, 2), (1, 3)]
    assert bench.state.unfinished_tasks == 0


def test_a_run_of_which_the_client_has_a_part_runs_again(bench):
    worker = bench.worker(held=[held(0, 4)])
    client = bench.client(before=OLD)
    client.submit(4, finished=[0, 1])
    message = results(SLICE, b"A", 1, 0, 4)
    whole = m.TaskResults(**{name: getattr(message, name) for name in m.TaskResults.__slots__})
    one = results(SLICE, b"A", 1, 0, 1)
    whole.starts, whole.statuses, whole.sizes, whole.durations, whole.payload = (
        one.starts,
        bytes([Status.VALUES]),
        one.sizes,
        one.durations,
        one.payload,
    )
    whole.counts = (4).to_bytes(4, "little")
    worker.say(whole)
    bench.advance(2.0)
    worker.complete_all()

    assert sorted(client.outcomes) == [(1, 1), (1, 2), (1, 3)]


def test_what_nobody_asks_for_is_ended_once_the_client_has_said_everything(bench):
    worker = bench.worker(held=[held(0, 1, batch_id=5)])
    bench.client(before=OLD)
    bench.advance(2.0)

    (end,) = worker.host.end_tasks
    assert (end.worker_id, end.slice_id, end.task) == ("W", SLICE, m.ANY_TASK)


def test_what_runs_for_a_client_that_does_not_come_back_is_ended_after_a_while(bench):
    worker = bench.worker(held=[held(0, 1)])
    bench.advance(59.0)
    assert worker.host.end_tasks == []

    bench.advance(2.0)
    assert len(worker.host.end_tasks) == 1


def test_a_task_that_runs_elsewhere_by_now_is_ended(bench):
    client, worker = bench.client(), bench.worker()
    client.submit(1)
    (slice_id,) = worker.slices
    worker.vanish()
    other = bench.worker("V", worker.host)
    assert other.held == 1
    back = bench.worker("W", worker.host, held=[held(0, 1, slice_id=slice_id)])

    assert [end.slice_id for end in back.host.end_tasks] == [slice_id]
    other.complete_all()
    assert client.statuses(1) == [Status.VALUE]


def test_a_task_that_waits_again_goes_back_to_the_worker_that_has_it(bench):
    client, worker = bench.client(), bench.worker()
    client.submit(1)
    (slice_id,) = worker.slices
    worker.vanish()
    back = bench.worker("W", worker.host, held=[held(0, 1, slice_id=slice_id)])

    assert back.host.end_tasks == []
    back.say(results(slice_id, b"A", 1, 0, 1))
    assert client.statuses(1) == [Status.VALUE]


def test_a_worker_that_dies_meanwhile_loses_what_was_parked(bench):
    worker = bench.worker(held=[held(0, 1)])
    worker.vanish()
    client = bench.client(before=OLD)
    client.submit(1)
    other = bench.worker("V", worker.host)
    bench.advance(4.0)

    assert other.held == 1


def test_a_slice_number_of_the_future_is_not_taken(bench):
    client = bench.client()
    client.submit(2)
    worker = bench.worker(held=[held(0, 1, slice_id=1)])

    assert [span[2:] for span in worker.spans] == [(0, 1), (1, 2)]
    assert bench.state.slice_count == 2
