"""What monitors are told follows from the state, and making it changes nothing."""

import dataclasses

import pytest

from scaler_protocol import codec
from scaler_protocol import messages as m
from scaler_protocol.monitor_messages import Count
from scaler_scheduler.core.report import ProcessFigures, make_report
from tests.unit.scheduler.builders import Bench


def report(bench, **process):
    made = make_report(bench.state, ProcessFigures(**process), bench.now)
    assert codec.decode_monitor(codec.encode_monitor(made)) == made
    return made


def measured(worker, **figures):
    """Have the worker's host say something of it."""
    entry = worker.host.entries[worker.worker_id]
    for name, value in figures.items():
        setattr(entry, name, value)
    worker.host.report()


def test_an_empty_scheduler_says_what_its_process_knows():
    sent = {m.Heartbeat: 3, m.TaskResults: 7}
    made = report(Bench(), cpu=1.5, rss=10, free_memory=20, dropped=2, objects=3, object_bytes=4, sent=sent)

    assert (made.cpu, made.rss, made.free_memory, made.dropped) == (1.5, 10, 20, 2)
    assert (made.objects, made.object_bytes) == (3, 4)
    assert made.sent == [Count("TaskResults", 7), Count("Heartbeat", 3)]
    assert made.received == made.clients == made.workers == []


def test_the_states_have_the_names_of_the_documentation():
    assert [state.name for state in report(Bench()).tasks] == [
        "Inactive",
        "Running",
        "Canceling",
        "BalanceCanceling",
        "WorkerDisconnecting",
        "Success",
        "Failed",
        "FailedWorkerDied",
        "Canceled",
        "CanceledNotFound",
    ]


def test_clients_functions_and_waiting_tasks():
    bench = Bench()
    one, _ = bench.client("A"), bench.client("B")
    one.submit(3)

    made = report(bench)

    assert made.clients == [Count("A", 3), Count("B", 0)]
    assert (made.ready, made.functions, made.function_bytes) == (3, 1, 1)
    assert made.tasks[0] == Count("Inactive", 3)


def test_a_worker_has_the_figures_of_its_host_and_of_its_queue():
    bench = Bench()
    client, worker = bench.client(), bench.worker(group="g-1", queue_size=10)
    entry = worker.host.entries[worker.worker_id]
    entry.cpu, entry.rss, entry.has_task, entry.task_lock = 50.0, 4096, True, True
    worker.host.say(m.HostReport([dataclasses.replace(entry)], 2.5, 8192, 1 << 33, 0.004))
    client.submit(2)
    bench.now += 7

    (row,) = report(bench).workers

    assert (row.worker_id, row.group_id) == (worker.worker_id, "g-1")
    assert (row.host_cpu, row.host_rss, row.cpu, row.rss, row.free_memory) == (2.5, 8192, 50.0, 4096, 1 << 33)
    assert (row.outstanding, row.queued, row.places) == (worker.held, worker.held - 1, 10 - worker.held)
    assert (row.initialised, row.has_task, row.task_lock) == (True, True, True)
    assert (row.lag_seconds, row.silent_seconds) == (0.002, 7)


def test_suspended_tasks_are_not_queued():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    client.submit(1)
    inner = bench.client("inner", inside=worker)
    inner.submit(1, priority=1)
    helper = bench.helper(worker)

    (row,) = report(bench).workers
    assert (row.outstanding, row.suspended, row.queued) == (2, 1, 0)
    helper.complete()
    (row,) = report(bench).workers
    assert (row.outstanding, row.suspended, row.queued) == (1, 0, 0)


def test_a_task_is_suspended_wherever_its_own_run():
    bench = Bench()
    client, worker = bench.client(), bench.worker("W")
    client.submit(1)
    other = bench.worker("V")
    inner = bench.client("inner", inside=worker)
    inner.submit(1, priority=1)

    assert other.held == 1
    rows = {row.worker_id: row for row in report(bench).workers}
    assert (rows["W"].outstanding, rows["W"].suspended, rows["W"].queued) == (1, 1, 0)
    assert (rows["V"].outstanding, rows["V"].suspended, rows["V"].queued) == (1, 0, 0)


def test_figures_of_an_earlier_process_are_not_those_of_the_next_one():
    bench = Bench()
    worker = bench.worker()
    measured(worker, cpu=99.0, rss=1)
    worker.end("cancelled", 15)

    (row,) = report(bench).workers

    assert (row.cpu, row.rss, row.initialised) == (0.0, 0, True)


def test_a_worker_on_its_way_is_shown_but_not_initialised():
    bench = Bench()
    host = bench.host()
    host.say(m.HostReport([m.WorkerReport("W", "g", 1, 7, "starting", 3.0, 5)]))

    (row,) = report(bench).workers

    assert (row.worker_id, row.group_id, row.cpu, row.rss) == ("W", "g", 3.0, 5)
    assert (row.initialised, row.places, row.outstanding) == (False, 0, 0)


def test_a_worker_without_a_host_has_no_figures():
    bench = Bench()
    worker = bench.worker()
    bench.state.hosts.clear()

    (row,) = report(bench).workers

    assert (row.worker_id, row.rss, row.silent_seconds) == (worker.worker_id, 0, 0.0)


@pytest.mark.parametrize("listeners", [0, 1])
def test_making_a_report_changes_nothing(listeners):
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    client.submit(4)
    for _ in range(listeners):
        report(bench)
    worker.complete_all()

    assert [outcome for outcomes in client.outcomes.values() for outcome in outcomes] == [0, 0, 0, 0]
