"""Tasks that are not wanted any more: cancelled, or of batches that were abandoned."""

from scaler_protocol import messages as m
from scaler_protocol.batch import U32, U64, Status, numbers
from tests.unit.scheduler.builders import Bench, learn


def test_a_ready_task_is_cancelled_at_once():
    bench = Bench()
    client = bench.client()
    batch = client.submit(3)
    bench.effects.take()

    client.cancel(batch, 1, 1)

    assert client.outcomes == {(batch, 1): [Status.CANCELLED]}
    assert bench.effects.kinds() == {"TaskResults": 1}


def test_a_queued_task_is_cancelled_when_its_worker_has_given_it_back():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = client.submit(2)
    bench.effects.take()

    client.cancel(batch, 1, 1)
    assert bench.effects.kinds() == {"RecallSlices": 1}
    assert client.outcomes == {}
    worker.give_back()

    assert client.outcomes == {(batch, 1): [Status.CANCELLED]}
    worker.complete()
    assert client.statuses(batch) == [Status.VALUE, Status.CANCELLED]


def test_a_running_task_is_cancelled_by_ending_its_process():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = client.submit(1)
    slice_id, _ = worker.running()
    client.cancel(batch)
    assert not worker.host.end_tasks

    worker.give_back()

    assert worker.host.end_tasks == [m.EndTask("W", 1, slice_id, 0)]
    assert client.outcomes == {}
    worker.end("cancelled", 15)
    assert client.statuses(batch) == [Status.CANCELLED]


def test_the_result_may_come_before_the_cancel():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = client.submit(1)
    client.cancel(batch)
    worker.complete()
    bench.effects.take()

    worker.give_back()
    client.cancel(batch)

    bench.effects.assert_empty()
    assert client.statuses(batch) == [Status.VALUE]


def test_the_task_may_end_while_its_process_is_being_ended():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = client.submit(2)
    client.cancel(batch)
    worker.give_back()
    worker.complete()  # the result was on its way

    worker.end("cancelled", 15, idle=True)

    assert client.outcomes == {(batch, 0): [Status.VALUE]}
    worker.complete()
    assert client.statuses(batch) == [Status.VALUE, Status.VALUE]


def test_the_neighbours_of_a_cancelled_task_run_again():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    learn(bench, client, worker, 0.01)
    batch = client.submit(blocks=[4])
    client.cancel(batch, 1, 1)
    worker.give_back()
    assert (client.outcomes[batch, 1], worker.held) == ([Status.CANCELLED], 3)

    worker.complete_all()

    assert client.statuses(batch) == [Status.VALUE, Status.CANCELLED, Status.VALUE, Status.VALUE]


def test_a_cancel_during_a_recall_is_pursued_after_it():
    bench = Bench()
    client, one = bench.client(), bench.worker("W1")
    learn(bench, client, one, 0.01)
    batch = client.submit(2)
    bench.worker("W2")  # balancing asks for the second task
    bench.effects.take()
    assert [a[1:] for a in one.slices.values()] == [[0, 1], [1, 2]]

    client.cancel(batch, 1, 1)
    assert not bench.effects.take(m.RecallSlices)
    one.complete(seconds=0.01)  # and begins with it
    one.give_back()

    assert [end.task for end in one.host.end_tasks] == [1]


def test_a_part_that_a_recall_left_is_recalled_again_for_a_cancel():
    bench = Bench()
    client, one = bench.client(), bench.worker("W1")
    learn(bench, client, one, 0.003)
    batch = client.submit(16)
    bench.effects.take()
    bench.worker("W2")  # balancing asks for a part
    (recall,) = bench.effects.take(m.RecallSlices)
    slice_id, limit = numbers(U64, recall.slice_ids)[-1], numbers(U32, recall.limits)[-1]
    assert one.slices[slice_id][1] < limit

    client.cancel(batch, one.slices[slice_id][1], 1)
    assert not bench.effects.take(m.RecallSlices)
    one.give_back()

    assert len(bench.effects.take(m.RecallSlices)) == 1
    one.give_back()
    assert Status.CANCELLED in [status for (status,) in client.outcomes.values()]


def test_cancelling_the_same_twice_answers_once():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = client.submit(3)
    client.cancel(batch, 0, 3)
    client.cancel(batch, 0, 3)
    worker.give_back()
    worker.end("cancelled", 15)

    assert client.statuses(batch) == [Status.CANCELLED] * 3
    assert bench.state.unfinished_tasks == 0


def test_a_cancel_reaches_tasks_of_a_process_that_was_replaced_before_its_end_is_known():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = client.submit(1)
    slice_id, task = worker.running()
    worker.slices.clear()
    worker.incarnation = 2
    worker.hello()

    client.cancel(batch)
    assert client.outcomes == {}
    worker.host.say(m.ProcessEnded("W", 1, "signal", 9, slice_id, task, True, "killed"))

    assert client.statuses(batch) == [Status.CANCELLED]
    assert worker.held == 0


def test_the_neighbours_of_a_cancelled_task_run_again_after_a_loss():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    learn(bench, client, worker, 0.001)
    batch = client.submit(blocks=[8])
    client.cancel(batch, 1, 1)
    client.cancel(batch, 3, 1)

    worker.end("signal", 15)
    worker.complete_all()

    statuses = client.statuses(batch)
    assert [task for task in range(8) if statuses[task] is Status.CANCELLED] == [1, 3]
    assert len(statuses) == 8


def test_a_cancelled_task_is_not_tried_again_after_a_loss():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = client.submit(2)
    client.cancel(batch, 0, 1)

    worker.end()

    assert client.outcomes == {(batch, 0): [Status.CANCELLED]}
    assert worker.held == 1


# ---- abandoning


def test_an_abandoned_batch_is_taken_back_and_what_runs_ends_unheard():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = client.submit(10)
    bench.effects.take()

    client.abandon(batch)

    assert bench.effects.kinds() == {"RecallSlices": 1}
    worker.give_back()
    assert worker.held == 1
    bench.effects.take()
    worker.complete()
    bench.effects.assert_empty()
    assert (client.outcomes, bench.state.unfinished_tasks) == ({}, 0)


def test_a_batch_abandoned_during_a_recall_is_taken_back_after_it():
    bench = Bench()
    client, one = bench.client(), bench.worker("W1")
    learn(bench, client, one, 0.01)
    batch = client.submit(blocks=[5])
    bench.worker("W2")
    client.abandon(batch)
    one.give_back()
    assert one.held > 1

    one.give_back()

    assert one.held == 1
    assert not one.host.end_tasks
