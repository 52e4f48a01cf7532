"""What clients say, and what becomes of them."""

from scaler_protocol import messages as m
from scaler_protocol.batch import U32, Status, column
from tests.unit.scheduler.builders import Bench, submission


def test_a_batch_with_an_unknown_function_is_refused():
    bench = Bench()
    client = bench.client()

    client.say(submission(1, 3))

    assert client.statuses(1) == [Status.REFUSED] * 3
    assert "does not know the function" in client.texts[1, 0]
    assert bench.state.unfinished_tasks == 0


def test_a_function_of_another_client_is_unknown_until_defined():
    bench = Bench()
    bench.client("A").define("f")
    other = bench.client("B")

    other.say(submission(1, 1))

    assert other.statuses(1) == [Status.REFUSED]


def test_a_batch_said_twice_counts_once():
    bench = Bench()
    client = bench.client()
    client.submit(3)
    client.say(submission(1, 3))

    assert bench.state.unfinished_tasks == 3


def test_forgetting_what_is_unknown_changes_nothing():
    bench = Bench()
    client = bench.client()
    bench.effects.take()

    client.forget("f")

    bench.effects.assert_empty()


# ---- leaving


def test_the_running_tasks_of_a_client_that_leaves_are_ended():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    client.submit(2)
    first, second = worker.slices
    bench.effects.take()

    client.leave()

    assert worker.host.end_tasks == [
        m.EndTask("W", 1, first, m.ANY_TASK),
        m.EndTask("W", 1, second, m.ANY_TASK),
    ]
    assert bench.effects.kinds() == {"RecallSlices": 1, "ForgetFunctions": 1, "EndTask": 2}
    assert (bench.state.unfinished_tasks, bench.state.functions) == (0, {})
    worker.give_back()
    worker.end("cancelled", 15)
    assert worker.held == 0


def test_a_task_of_a_gone_client_that_began_after_the_order_to_end_it_is_ended_too():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    client.submit(2)
    _, second = worker.slices
    client.leave()
    worker.host.end_tasks.clear()
    worker.complete()  # the host found nothing to end: this one was over, and the next had not begun

    worker.give_back()

    assert worker.host.end_tasks == [m.EndTask("W", 1, second, m.ANY_TASK)]


def test_a_client_that_leaves_takes_nothing_of_others_along():
    bench = Bench()
    one, other, worker = bench.client("A"), bench.client("B"), bench.worker()
    one.submit(3)
    other.submit(3)

    one.leave()
    worker.give_back()
    worker.complete_all()

    assert other.statuses(1) == [Status.VALUE] * 3


def test_nothing_is_sent_to_a_client_that_has_left():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    client.submit(1)
    client.leave()
    bench.effects.take()

    worker.complete()

    bench.effects.assert_empty()


def test_who_takes_his_leave_frees_what_he_stored_at_once():
    bench = Bench()
    client = bench.client()
    client.define()

    client.leave()

    assert bench.deleted_owners == [client.peer]
    assert bench.state.functions == {}
    assert bench.core.next_wakeup() is None


def test_a_scheduler_that_ends_for_good_frees_what_everybody_stored():
    bench = Bench()
    one, other = bench.client("A"), bench.client("B")

    one.say(m.RequestShutdown())

    assert bench.stopped
    assert bench.deleted_owners == [one.peer, other.peer]


# ---- the waiting limit


def test_what_waits_beyond_the_limit_is_refused():
    bench = Bench(max_number_of_tasks_waiting=2)
    client = bench.client()

    batch = client.submit(5)

    assert client.outcomes == {(batch, task): [Status.REFUSED] for task in (2, 3, 4)}
    assert "max_number_of_tasks_waiting" in client.texts[batch, 2]
    assert bench.state.unfinished_tasks == 2


def test_with_a_limit_of_nought_only_the_places_on_workers_count():
    bench = Bench(max_number_of_tasks_waiting=0)
    client = bench.client()
    refused = client.submit(1)
    worker = bench.worker(queue_size=3)
    accepted = client.submit(5)

    assert client.statuses(refused) == [Status.REFUSED]
    assert client.statuses(accepted) == [Status.REFUSED] * 2
    worker.complete_all()
    assert client.statuses(accepted) == [Status.VALUE] * 3 + [Status.REFUSED] * 2


def test_places_that_are_taken_do_not_count():
    bench = Bench(max_number_of_tasks_waiting=0)
    client, worker = bench.client(), bench.worker(queue_size=3)
    first, second = client.submit(3), client.submit(1)

    assert worker.held == 2  # of unknown duration; the third waits for its place
    assert client.statuses(second) == [Status.REFUSED]
    worker.complete(1, seconds=1.0)
    third = client.submit(2)
    assert client.statuses(third) == [Status.REFUSED]
    worker.complete_all()
    assert client.statuses(first) == [Status.VALUE] * 3


def test_places_on_workers_that_take_nothing_do_not_count():
    bench = Bench(max_number_of_tasks_waiting=0)
    client, worker = bench.client(), bench.worker()
    worker.host.report(W="stopped")

    assert client.statuses(client.submit(1)) == [Status.REFUSED]
    worker.host.report(W="draining")
    assert client.statuses(client.submit(1)) == [Status.REFUSED]


def test_nested_tasks_and_those_taken_over_are_always_admitted():
    bench = Bench(max_number_of_tasks_waiting=0)
    client = bench.client()

    client.submit(2, priority=1)
    client.submit(4, finished=(0, 1))

    assert client.outcomes == {}
    assert bench.state.unfinished_tasks == 5


# ---- batches submitted again


def test_a_batch_submitted_again_runs_only_what_is_not_finished():
    bench = Bench()
    client = bench.client()
    batch = client.submit(10, finished=(0, 3, 5, 6))
    worker = bench.worker()

    worker.complete_all()

    assert sorted(task for _, task in client.outcomes) == [3, 4, 6, 7, 8, 9]
    assert client.statuses(batch) == [Status.VALUE] * 6


def test_a_batch_that_is_wholly_finished_is_nothing():
    bench = Bench()
    client = bench.client()
    client.define()
    bench.effects.take()

    client.submit(3, finished=(0, 3))

    bench.effects.assert_empty()
    assert not bench.state.clients[b"A"].batches


def test_cancelling_what_is_unknown_changes_nothing():
    bench = Bench()
    client = bench.client()
    batch = client.submit(1)
    bench.effects.take()

    client.cancel(99)
    client.cancel(batch, 50, 10)
    client.abandon(99)

    bench.effects.assert_empty()


def test_cancelling_goes_on_after_the_batch_has_ended():
    bench = Bench()
    client = bench.client()
    batch = client.submit(2)

    client.say(m.CancelTasks(batch, column(U32, [0, 0]), column(U32, [2, 2])))

    assert client.statuses(batch) == [Status.CANCELLED] * 2


# ---- shutdown


def test_a_client_may_end_everything():
    bench = Bench()
    client, _worker, _adapter = bench.client(), bench.worker(), bench.adapter()
    bench.effects.take()

    client.say(m.RequestShutdown())

    assert bench.stopped
    told = [peer for peer, message in bench.effects.pairs() if isinstance(message, m.Shutdown)]
    assert sorted(told) == [b"A", b"H", b"N", b"W"]


def test_a_protected_scheduler_goes_on():
    bench = Bench(protected=True)
    client = bench.client()
    bench.worker()
    bench.effects.take()

    client.say(m.RequestShutdown())

    assert bench.stopped is None
    assert client.told == [m.ShutdownRefused("Scheduler is in protected mode. Can't shutdown")]
    assert bench.effects.kinds() == {"ShutdownRefused": 1}


# ---- hints


def test_capabilities_that_are_ignored_are_said_once():
    bench = Bench()
    client = bench.client()
    client.submit(1, capabilities={"gpu": 1})
    client.submit(1, capabilities={"gpu": 1})

    assert [notice.cause for notice in client.notices] == ["capabilities ignored"]
    assert "allocate=capability" in client.notices[0].text


def test_capabilities_that_are_heeded_make_no_hint():
    bench = Bench("allocate=capability; scaling=no")
    client = bench.client()
    client.submit(1, capabilities={"gpu": 1})

    assert not client.notices
