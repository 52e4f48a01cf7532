"""How batches become slices: how many tasks, in what order, and what becomes of answers, recalls and cancels."""

import pytest

from scaler_protocol import messages as m
from scaler_protocol.batch import F64, U8, U32, U64, Encoding, Status, column, numbers
from scaler_protocol.errors import ProtocolError
from scaler_runtime import core as c
from tests.unit.scheduler.builders import Bench, function_id, results


def learn(bench, client, worker, seconds, function="f"):
    """Let the core know how long tasks of a function take."""
    client.submit(1, function)
    worker.complete(seconds=seconds)
    bench.effects.take()


# ---- slices by time


def test_a_slice_brings_its_function_and_the_blocks_that_cover_it():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    bench.effects.take()

    client.submit(2, priority=2, timed=True)

    define, assign, second = bench.effects.take()
    assert define == m.DefineFunction(function_id("f"), "f", b"f")
    assert assign == m.AssignSlice(
        slice_id=1,
        client_id=b"A",
        batch_id=1,
        function_id=function_id("f"),
        start=0,
        stop=1,
        first=0,
        priority=2,
        encoding=Encoding.VALUES,
        timed=True,
        block_counts=column(U32, [1]),
        block_sizes=column(U32, [4]),
        payload=b"1.0;",
    )
    assert (second.slice_id, second.start, second.stop, second.first, second.payload) == (2, 1, 2, 1, b"1.1;")
    assert worker.held == 2


def test_tasks_of_unknown_duration_come_one_at_a_time():
    bench = Bench()
    client, worker = bench.client(), bench.worker()

    client.submit(100)

    assert worker.spans == [("A", 1, 0, 1), ("A", 1, 1, 2)]


def test_ten_long_tasks_take_ten_workers_at_once():
    bench = Bench()
    client, workers = bench.client(), bench.workers(10)

    client.submit(10)

    assert [worker.held for worker in workers] == [1] * 10


def test_ten_tasks_known_to_be_long_take_ten_workers_too():
    bench = Bench()
    client, workers = bench.client(), bench.workers(10)
    learn(bench, client, workers[0], 1.0)

    client.submit(10)

    assert [worker.held for worker in workers] == [1] * 10


def test_a_worker_has_fifty_milliseconds_of_work_ahead():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    learn(bench, client, worker, 0.001)

    client.submit(4000)

    assert 49 <= worker.held <= 51
    worker.complete(10)
    assert 49 <= worker.held <= 51


def test_a_slice_is_at_most_half_of_every_workers_share_of_the_rest():
    bench = Bench()
    client, workers = bench.client(), bench.workers(2)
    learn(bench, client, workers[0], 0.0001)

    client.submit(100)

    sizes = [stop - start for worker in workers for _, _, start, stop in worker.spans]
    assert max(sizes) == 100 // (2 * 2)
    assert sum(sizes) == 100


def test_a_small_queue_holds_more_only_of_what_fits_into_fifty_milliseconds():
    bench = Bench()
    client, worker = bench.client(), bench.worker(queue_size=4)
    learn(bench, client, worker, 1.0, "long")
    learn(bench, client, worker, 0.0001, "short")

    client.submit(100, "long")
    assert worker.held == 2
    worker.complete_all(seconds=1.0)
    client.submit(4000, "short")
    assert 450 <= worker.held <= 501


def test_a_queue_of_one_place_never_holds_two_unknown_tasks():
    bench = Bench()
    client, worker = bench.client(), bench.worker(queue_size=1)

    client.submit(3)

    assert worker.held == 1


def test_a_slice_ends_where_a_block_ends():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    learn(bench, client, worker, 0.001)
    bench.effects.take()

    client.submit(blocks=[40, 40, 40])

    (first, *_) = bench.effects.take(m.AssignSlice)
    assert (first.start, first.stop, first.payload) == (0, 40, b"2.0;")


def test_a_block_may_go_to_several_workers_each_running_a_part():
    bench = Bench()
    client, workers = bench.client(), bench.workers(2)

    client.submit(blocks=[4])

    assigned = [(a.start, a.stop, a.first, a.payload) for a in bench.effects.take(m.AssignSlice)]
    assert assigned == [(task, task + 1, 0, b"1.0;") for task in range(4)]
    assert [worker.held for worker in workers] == [2, 2]


def test_a_later_block_is_sent_without_the_ones_before():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    learn(bench, client, worker, 0.001)
    client.submit(blocks=[40, 40, 40])

    second, *_ = bench.effects.take(m.AssignSlice)[1:]
    assert (second.first, second.start, second.stop, second.payload) == (40, 40, 50, b"2.1;")
    assert list(numbers(U32, second.block_counts)) == [40]


def test_the_function_is_sent_once_to_each_process():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    client.submit(5)
    bench.effects.take()

    worker.complete()
    assert not bench.effects.take(m.DefineFunction)
    worker.end()
    assert len(bench.effects.take(m.DefineFunction)) == 1


# ---- whose tasks


def test_two_clients_share_the_workers():
    bench = Bench()
    one, other, workers = bench.client("A"), bench.client("B"), bench.workers(4)
    one.submit(100)
    other.submit(100)
    for _ in range(25):
        for worker in workers:
            worker.complete(seconds=0.05)

    assert abs(len(one.outcomes) - len(other.outcomes)) <= 8


def test_a_higher_priority_of_any_client_goes_first():
    bench = Bench()
    one, other, worker = bench.client("A"), bench.client("B"), bench.worker()
    one.submit(10)
    other.submit(1, "g", priority=1)

    worker.complete()

    assert [client for client, *_ in worker.spans] == ["A", "B"]


def test_the_results_of_a_congested_client_stop_its_tasks_but_not_the_others():
    bench = Bench()
    one, other, worker = bench.client("A"), bench.client("B"), bench.worker()
    bench.handle(c.Congested(b"A"))
    one.submit(5)
    other.submit(1)
    assert [client for client, *_ in worker.spans] == ["B"]

    bench.handle(c.Relieved(b"A"))
    assert [client for client, *_ in worker.spans] == ["B", "A"]


# ---- answers


def test_results_go_to_the_client_as_they_came():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    client.submit(1)
    bench.effects.take()
    slice_id, _ = worker.running()

    worker.complete(seconds=0.5, status=Status.EXCEPTION)

    (peer, passed), *rest = bench.effects.pairs()
    expected = results(slice_id, b"A", 1, 0, 1, seconds=0.5, status=Status.EXCEPTION)
    expected.slice_id, expected.client_id = 0, b""
    assert (peer, passed) == (b"A", expected)
    assert not rest
    assert client.statuses(1) == [Status.EXCEPTION]


def test_results_of_a_slice_that_was_given_up_are_dropped():
    bench = Bench()
    client, one = bench.client(), bench.worker("W1")
    client.submit(1)
    slice_id, _ = one.running()
    one.end(hello=True)
    other_slice, _ = one.running()
    bench.effects.take()

    one.say(results(slice_id, b"A", 1, 0, 1))

    bench.effects.assert_empty()
    assert other_slice != slice_id
    one.complete()
    assert client.statuses(1) == [Status.VALUE]


def test_results_of_a_worker_nobody_knows_are_dropped():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    client.submit(1)
    slice_id, _ = worker.running()
    bench.handle(c.PeerJoined(b"X", m.Register("worker", b"X", b"", "", 1, "", "", "", 1, b"", 0)))
    bench.effects.take()

    bench.say(b"X", results(slice_id, b"A", 1, 0, 1))
    bench.say(b"X", m.SlicesReturned(column(U64, [slice_id]), column(U32, [0])))

    bench.effects.assert_empty()
    assert worker.held == 1


@pytest.mark.parametrize(
    ("starts", "counts"),
    [
        ([1], [1]),  # not the next one
        ([0], [5]),  # more than it has
        ([0, 2], [1, 1]),  # a gap
        ([0, 0], [1, 1]),  # one twice
        ([1, 0], [1, 1]),  # out of order
        ([0, 0, 2], [1, 1, 1]),  # a gap and one twice: the ends fit
    ],
)
def test_results_out_of_place_are_an_error_and_change_nothing(starts, counts):
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    learn(bench, client, worker, 0.01)
    client.submit(8)
    slice_id, _ = worker.running()
    assert worker.spans[0] == ("A", 2, 0, 4)
    before = bench.state.unfinished_tasks
    bench.effects.take()

    message = m.TaskResults(
        slice_id,
        b"A",
        2,
        column(U32, starts),
        column(U32, counts),
        column(U8, [Status.CANCELLED] * len(starts)),
        column(U32, [0] * len(starts)),
        column(F64, [9.0] * len(starts)),
        b"",
    )
    with pytest.raises(ProtocolError, match="out of place"):
        worker.say(message)

    bench.settle()
    bench.effects.assert_empty()
    assert bench.state.unfinished_tasks == before
    assert bench.state.durations.of(function_id("f")) == pytest.approx(0.01)
    worker.complete_all(seconds=0.01)
    assert client.statuses(2) == [Status.VALUE] * 8


# ---- balancing


def test_queued_work_moves_at_once_to_a_worker_that_falls_idle():
    bench = Bench()
    client, one, other = bench.client(), bench.worker("W1"), bench.worker("W2")
    client.submit(4)
    other.complete(seconds=1.0)
    bench.effects.take()

    other.complete(seconds=1.0)

    recall = bench.effects.take(m.RecallSlices)
    assert len(recall) == 1
    one.give_back()
    assert (one.held, other.held) == (1, 1)


def test_the_running_task_never_moves():
    bench = Bench()
    client, one = bench.client(), bench.worker("W1")
    client.submit(2)
    first, second = one.slices
    bench.effects.take()

    bench.worker("W2")

    (recall,) = bench.effects.take(m.RecallSlices)
    assert list(numbers(U64, recall.slice_ids)) == [second]
    assert first != second


def test_a_recall_that_comes_too_late_moves_nothing():
    bench = Bench()
    client, one = bench.client(), bench.worker("W1")
    client.submit(2)
    other = bench.worker("W2")
    bench.effects.take()

    one.complete(seconds=1.0)  # it begins the task that is wanted back
    one.give_back()

    assert (one.held, other.held) == (1, 0)
    one.complete(seconds=1.0)
    assert client.statuses(1) == [Status.VALUE] * 2


def test_a_returned_limit_below_what_is_answered_is_an_error_and_changes_nothing():
    bench = Bench()
    client, one = bench.client(), bench.worker("W1")
    learn(bench, client, one, 0.01)
    client.submit(blocks=[4])
    bench.worker("W2")
    slice_id, _ = one.running()
    one.complete(1, seconds=0.01)
    bench.effects.take()

    with pytest.raises(ProtocolError, match="returned from 0"):
        one.say(m.SlicesReturned(column(U64, [slice_id]), column(U32, [0])))

    bench.settle()
    assert not bench.effects.take()
    assert bench.state.workers["W1"].recalls == 1


def test_an_answer_to_a_recall_that_was_not_asked_is_ignored():
    bench = Bench()
    client, one = bench.client(), bench.worker("W1")
    client.submit(1)
    slice_id, _ = one.running()
    bench.effects.take()

    one.say(m.SlicesReturned(column(U64, [slice_id, 99]), column(U32, [0, 0])))

    bench.effects.assert_empty()
    assert bench.state.workers["W1"].outstanding == 1


def test_work_that_is_short_by_the_estimates_is_recalled_once_its_worker_is_stuck():
    bench = Bench()
    client, one = bench.client(), bench.worker("W1")
    learn(bench, client, one, 0.00001)
    client.submit(10)
    bench.worker("W2")
    assert not bench.effects.take(m.RecallSlices)

    bench.advance(0.1)

    assert bench.effects.take(m.RecallSlices)


# ---- cancelling


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


# ---- functions


def test_a_function_is_freed_when_neither_a_client_nor_a_batch_uses_it():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    client.submit(1)
    client.forget("f")
    assert function_id("f") in bench.state.functions

    worker.complete()

    assert bench.state.functions == {}
    assert worker.forgotten == [function_id("f")]
    assert bench.state.durations.of(function_id("f")) is None


def test_a_function_stays_while_another_client_has_it():
    bench = Bench()
    one, other, worker = bench.client("A"), bench.client("B"), bench.worker()
    other.define("f")
    one.submit(1)
    worker.complete()

    one.leave()

    assert function_id("f") in bench.state.functions
    assert not worker.forgotten
    other.forget("f")
    assert worker.forgotten == [function_id("f")]


# ---- lanes


def test_a_task_that_nobody_suits_blocks_nobody():
    bench = Bench("allocate=capability; scaling=no")
    client, plain = bench.client(), bench.worker("W1")
    client.submit(1, capabilities={"gpu": 1})
    client.submit(1)
    assert plain.spans == [("A", 2, 0, 1)]

    gpu = bench.worker("W2", capabilities={"gpu": 2})

    assert gpu.spans == [("A", 1, 0, 1)]


def test_an_idle_worker_gets_what_it_suits_from_a_loaded_one_though_many_others_are_idle():
    bench = Bench("allocate=capability; scaling=no")
    client, gpu = bench.client(), bench.worker("G1", capabilities={"gpu": -1})
    client.submit(2, capabilities={"gpu": -1})
    bench.workers(50)
    bench.advance(1.0)
    assert not bench.effects.take(m.RecallSlices)

    other = bench.worker("G2", capabilities={"gpu": -1})
    gpu.give_back()

    assert (gpu.held, other.held) == (1, 1)


def test_a_loaded_worker_is_found_behind_many_whose_tasks_suit_nobody_idle():
    bench = Bench("allocate=capability; scaling=no")
    client = bench.client()
    for index in range(40):
        bench.worker(f"G{index}", capabilities={"gpu": -1})
    client.submit(80, capabilities={"gpu": -1})
    plain = bench.worker("W1", capabilities={"tpu": -1})
    client.submit(2, "g", capabilities={"tpu": -1})
    assert plain.held == 2
    other = bench.worker("W2", capabilities={"tpu": -1})

    bench.advance(0.2)
    plain.give_back()

    assert (plain.held, other.held) == (1, 1)


def test_a_task_that_only_its_worker_can_run_does_not_go_to_and_fro():
    bench = Bench("allocate=capability; scaling=no")
    client, gpu = bench.client(), bench.worker("G", capabilities={"gpu": -1})
    client.submit(1)
    client.submit(1, capabilities={"gpu": -1})
    bench.effects.take()

    bench.worker("W")  # it could run the task that runs already
    bench.advance(1.0)

    bench.effects.assert_empty()
    assert gpu.held == 2


def test_a_task_queued_behind_one_of_higher_priority_moves_though_it_came_first():
    bench = Bench()
    client, one = bench.client(), bench.worker("W1")
    client.submit(2)
    client.submit(1, priority=1)
    one.complete(seconds=1.0)
    assert [batch for _, batch, *_ in one.spans] == [1, 2]
    urgent = list(one.slices)[1]
    one.slices = dict(reversed(one.slices.items()))  # it runs the urgent one
    other = bench.worker("W2")
    one.give_back()
    assert (one.running()[0], one.held, other.held) == (urgent, 2, 0)

    bench.advance(0.1)
    one.give_back()

    assert (one.held, other.held) == (1, 1)
