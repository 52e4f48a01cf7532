"""How processes end, how hosts come and go, and what that means for the tasks they had."""

import signal

import pytest

from scaler_protocol import messages as m
from scaler_protocol.batch import Status
from scaler_protocol.errors import ProtocolError
from scaler_runtime import core as c
from tests.unit.scheduler.builders import Bench, register

OWN_DOING = [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL]


def busy(tasks=2, **settings):
    """Return a bench, a client, its batch, and the one worker that runs it."""
    bench = Bench(**settings)
    client, worker = bench.client(), bench.worker()
    batch = client.submit(tasks)
    bench.effects.take()
    return bench, client, batch, worker


# ---- how a process ends


@pytest.mark.parametrize("number", OWN_DOING)
def test_a_task_that_ends_its_process_by_a_signal_fails_and_is_not_retried(number):
    _bench, client, batch, worker = busy()

    worker.end("signal", int(number), detail="it crashed")

    assert client.outcomes == {(batch, 0): [Status.PROCESSOR_DIED]}
    assert client.texts[batch, 0] == f"signal_name={number.name}\nit crashed"
    worker.complete_all()
    assert client.statuses(batch) == [Status.PROCESSOR_DIED, Status.VALUE]


@pytest.mark.parametrize("code", [0, 1, 42])
def test_a_task_that_exits_its_process_fails_and_is_not_retried(code):
    _bench, client, batch, worker = busy()

    worker.end("exit", code, detail="it left")

    assert client.outcomes == {(batch, 0): [Status.PROCESSOR_DIED]}
    assert client.texts[batch, 0] == f"exit_code={code}\nit left"


def test_a_killed_process_counts_one_for_its_running_task_only():
    bench, client, batch, worker = busy()

    worker.end(detail="killed")

    assert client.outcomes == {}
    (only,) = bench.state.clients[b"A"].batches.values()
    assert only.failures == {0: ["killed"]}
    worker.complete_all()
    assert client.statuses(batch) == [Status.VALUE] * 2


def test_the_retry_limit_ends_a_task_whose_workers_die_and_names_every_cause():
    bench, client, batch, worker = busy(task_retry_limit=2)
    for attempt in range(2):
        worker.end(detail=f"death {attempt}")
    assert client.outcomes == {}

    worker.end(detail="death 2")

    assert client.outcomes == {(batch, 0): [Status.WORKER_DIED]}
    assert client.texts[batch, 0] == "death 0\ndeath 1\ndeath 2"
    worker.complete_all()
    assert client.statuses(batch) == [Status.WORKER_DIED, Status.VALUE]
    assert bench.state.unfinished_tasks == 0


def test_a_retry_limit_of_nought_fails_at_the_first_loss():
    _bench, client, batch, worker = busy(task_retry_limit=0)

    worker.end()

    assert client.outcomes == {(batch, 0): [Status.WORKER_DIED]}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_process_asked_to_leave_counts_nothing(number):
    _bench, client, batch, worker = busy(task_retry_limit=0)

    worker.end("signal", int(number))
    worker.complete_all()

    assert client.statuses(batch) == [Status.VALUE] * 2


@pytest.mark.parametrize("cause", ["planned", "something new"])
def test_a_planned_end_counts_nothing_and_neither_does_an_unknown_one(cause):
    _bench, client, batch, worker = busy(task_retry_limit=0)

    worker.end(cause, 9)
    worker.complete_all()

    assert client.statuses(batch) == [Status.VALUE] * 2


def test_a_timeout_fails_the_running_task_only():
    _bench, client, batch, worker = busy()

    worker.end("timeout", 15, detail="ran longer than 3 seconds")
    worker.complete_all()

    assert client.statuses(batch) == [Status.TIMED_OUT, Status.VALUE]
    assert client.texts[batch, 0] == "ran longer than 3 seconds"


def test_a_process_that_ran_nothing_fails_nothing():
    _bench, client, batch, worker = busy(task_retry_limit=0)

    worker.end("exit", 1, idle=True)
    worker.complete_all()

    assert client.statuses(batch) == [Status.VALUE] * 2


def test_neighbours_in_the_slice_of_the_culprit_are_not_punished():
    bench, client, _, worker = busy(1, task_retry_limit=0)
    worker.complete(seconds=0.001)
    batch = client.submit(blocks=[10])
    worker.complete(2)
    slice_id, task = worker.running()
    assert (task, worker.slices[slice_id][2]) == (2, 5)

    worker.end("exit", 1)
    worker.complete_all()

    assert client.statuses(batch) == [*[Status.VALUE] * 2, Status.PROCESSOR_DIED, *[Status.VALUE] * 7]
    assert bench.state.unfinished_tasks == 0


def test_a_task_that_was_answered_already_is_not_to_blame():
    _bench, client, batch, worker = busy(1)
    slice_id, task = worker.running()
    worker.complete()

    worker.host.say(m.ProcessEnded("W", 1, "signal", 11, slice_id, task, True, ""))

    assert client.statuses(batch) == [Status.VALUE]


# ---- processes that replace each other


def test_the_next_process_may_greet_before_the_end_of_the_last_is_known():
    bench, client, batch, worker = busy()
    slice_id, task = worker.running()
    worker.slices.clear()
    worker.incarnation = 2

    worker.hello()
    assert worker.held == 0
    worker.host.say(m.ProcessEnded("W", 1, "signal", 11, slice_id, task, True, ""))

    assert client.outcomes == {(batch, 0): [Status.PROCESSOR_DIED]}
    assert worker.held == 1
    assert bench.state.lost == {}


def test_what_a_lost_process_held_runs_again_when_its_host_goes_without_a_word():
    bench, client, batch, worker = busy()
    worker.slices.clear()
    worker.incarnation = 2
    worker.hello()
    other = bench.worker("W2", host=bench.host("H2"))

    worker.host.leave()
    other.complete_all()

    assert client.statuses(batch) == [Status.VALUE] * 2
    assert bench.state.lost == {}


def test_the_greeting_of_a_process_that_has_ended_meanwhile_is_not_believed():
    bench = Bench()
    client, host = bench.client(), bench.host()
    host.say(m.ProcessEnded("W", 1, "exit", 1, 0, 0, True, ""))

    worker = bench.worker("W", host)

    assert worker.told == [m.Shutdown("worker W is another process by now", dismissed=True)]
    assert not bench.state.workers
    client.submit(1)
    assert worker.held == 0


def test_an_older_process_does_not_replace_a_newer_one():
    bench, client, _, worker = busy()
    worker.incarnation = 5
    worker.hello()
    bench.effects.take()
    bench.handle(c.PeerJoined(b"old", register("worker", b"old")))

    bench.say(b"old", m.WorkerHello("W", 4, b"H", "", 10, 1, {}))

    assert bench.effects.pairs() == [(b"old", m.Shutdown("worker W is another process by now", dismissed=True))]
    assert bench.state.workers["W"].incarnation == 5
    assert client.outcomes == {}


def test_a_worker_of_another_host_does_not_replace_one():
    bench, _, _, worker = busy()
    bench.host("H2")
    bench.handle(c.PeerJoined(b"X", register("worker", b"X")))
    bench.effects.take()

    bench.say(b"X", m.WorkerHello("W", 9, b"H2", "", 10, 1, {}))

    assert bench.effects.pairs() == [(b"X", m.Shutdown("worker W is another process by now", dismissed=True))]
    assert bench.state.workers["W"].peer == worker.peer


def test_a_process_is_one_worker_only():
    bench, _, _, _worker = busy()

    with pytest.raises(ProtocolError, match="says that it is"):
        bench.say(b"W", m.WorkerHello("other", 1, b"H", "", 10, 1, {}))
    assert list(bench.state.workers) == ["W"]


def test_a_worker_whose_session_begins_anew_loses_what_it_held_and_goes_on():
    bench, client, batch, worker = busy()
    bench.handle(c.PeerLeft(b"W", "its connection was lost and did not come back"))
    assert bench.warnings()
    worker.slices.clear()

    bench.handle(c.PeerJoined(b"W", register("worker", b"W")))
    worker.hello()
    worker.complete_all()

    assert client.statuses(batch) == [Status.VALUE] * 2


def test_the_same_process_under_a_new_session_counts_nothing():
    bench, client, batch, worker = busy(task_retry_limit=0)
    worker.slices.clear()
    bench.handle(c.PeerJoined(b"W again", register("worker", b"W again")))
    bench.peers[b"W again"] = worker

    bench.say(b"W again", m.WorkerHello("W", 1, b"H", "", 10, 1, {}))
    worker.peer = b"W again"
    worker.complete_all()

    assert client.statuses(batch) == [Status.VALUE] * 2


def test_a_lost_connection_counts_one_for_the_first_task():
    bench, client, batch, worker = busy(task_retry_limit=0)
    worker.leave("its connection was lost and did not come back")

    assert client.outcomes == {(batch, 0): [Status.WORKER_DIED]}
    assert bench.state.workers == {}


# ---- hosts


def test_the_workers_of_a_host_that_is_gone_are_given_up_and_told():
    bench, client, batch, worker = busy(task_retry_limit=0)
    bench.worker("W2", worker.host)

    worker.host.leave("silent for 60 seconds")

    told = [peer for peer, message in bench.effects.pairs() if isinstance(message, m.Shutdown)]
    assert told == [b"W", b"W2"]
    assert client.outcomes == {(batch, 0): [Status.WORKER_DIED]}
    assert bench.state.workers == {}


def test_a_host_may_come_after_its_workers():
    bench = Bench()
    client = bench.client()
    bench.handle(c.PeerJoined(b"W", register("worker", b"W")))
    bench.say(b"W", m.WorkerHello("W", 1, b"H", "", 10, 1, {}))
    host = bench.host("H")
    client.submit(1)

    host.leave()

    assert bench.state.workers == {}
    assert client.outcomes == {}


def test_a_worker_that_its_host_does_not_report_any_more_is_gone():
    bench, client, batch, worker = busy(task_retry_limit=0)
    other = bench.worker("W2", worker.host)
    worker.host.report()
    del worker.host.entries["W"]

    worker.host.report()
    other.complete_all()

    assert client.statuses(batch) == [Status.VALUE] * 2
    assert list(bench.state.workers) == ["W2"]


def test_a_host_has_no_say_over_the_workers_of_another():
    bench, client, _, worker = busy()
    stranger = bench.host("H2")
    slice_id, task = worker.running()
    bench.effects.take()

    for state in ("draining", "stopped", "running"):
        stranger.say(m.HostReport([m.WorkerReport("W", "", 1, 1, state)]))
    stranger.say(m.HostReport([]))
    stranger.say(m.ProcessEnded("W", 1, "exit", 1, slice_id, task, False, ""))

    assert client.outcomes == {}
    assert bench.state.workers["W"].outstanding == 2
    assert not bench.state.workers["W"].draining


def test_what_hosts_say_of_ended_processes_is_kept_for_a_bounded_number():
    bench = Bench()
    host = bench.host()
    for index in range(1500):
        bench.core.handle(c.Received(b"H", m.ProcessEnded(f"W{index}", 1, "planned", 0, 0, 0, False, "")), bench.now)

    assert len(bench.state.hosts[b"H"].ended) == 1000
    host.report()


# ---- draining


def test_a_draining_worker_finishes_what_it_runs_and_the_host_is_told():
    bench, client, batch, worker = busy(3)

    worker.host.report(W="draining")

    assert bench.effects.kinds() == {"RecallSlices": 1}
    worker.give_back()
    assert (worker.held, worker.host.drained) == (1, [])
    worker.complete()
    assert worker.host.drained == ["W"]
    assert worker.held == 0
    bench.worker("W2", worker.host).complete_all()
    assert client.statuses(batch) == [Status.VALUE] * 3


def test_an_empty_draining_worker_is_told_at_once():
    bench = Bench()
    worker = bench.worker()

    worker.host.report(W="draining")

    assert worker.host.drained == ["W"]


def test_a_worker_that_drains_during_a_recall_gives_the_rest_back_after_it():
    bench, client, _, worker = busy(1)
    worker.complete(seconds=0.01)
    client.submit(blocks=[5])
    bench.worker("W2", worker.host)  # balancing asks for a part
    assert len(worker.recalls) == 1

    worker.host.report(W="draining")
    while worker.recalls:
        worker.give_back()

    assert worker.held == 1


def test_a_new_process_of_a_draining_worker_gets_nothing():
    bench, client, _, worker = busy(3)
    worker.host.report(W="draining")
    worker.complete()

    worker.incarnation = 2
    worker.slices.clear()
    worker.hello()

    assert bench.state.workers["W"].draining
    client.submit(1)
    assert worker.held == 0


# ---- stopped


def test_a_stopped_worker_gets_nothing_new():
    bench, client, _, worker = busy(1)
    worker.host.report(W="stopped")
    client.submit(1)
    assert worker.held == 1

    worker.host.report(W="running")

    assert worker.held == 2
    assert bench.state.workers["W"].stopped_since is None


def test_the_tasks_of_a_worker_stopped_for_too_long_run_elsewhere_at_that_moment():
    bench, client, batch, worker = busy(2, worker_timeout_seconds=60.0)
    worker.host.report(W="stopped")
    other = bench.worker("W2", worker.host)
    bench.advance(59.0)
    assert other.held == 0

    bench.advance(1.0)

    assert other.held == 2
    other.complete_all()
    assert client.statuses(batch) == [Status.VALUE] * 2
    worker.give_back()  # it goes on, and gives back what it need not run any more
    worker.host.report(W="running")
    worker.complete()
    assert client.statuses(batch) == [Status.VALUE] * 2


def test_a_stopped_worker_that_ends_is_forgotten():
    bench, _, _, worker = busy()
    worker.host.report(W="stopped")
    worker.end(hello=False)

    bench.advance(100.0)

    assert bench.state.workers == {}


def test_a_stopped_state_of_an_earlier_process_does_not_count():
    bench, _, _, worker = busy()
    worker.host.entries["W"].incarnation = 0

    worker.host.report(W="stopped")

    assert not bench.state.workers["W"].stopped
