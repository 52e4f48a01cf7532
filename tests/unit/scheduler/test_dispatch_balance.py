"""Queued tasks move to workers that have nothing to do; what runs never moves."""

import pytest

from scaler_protocol import messages as m
from scaler_protocol.batch import U32, U64, Status, column, numbers
from scaler_protocol.errors import ProtocolError
from tests.unit.scheduler.builders import Bench, learn


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


def test_at_the_end_of_a_period_the_newest_queued_task_leaves_the_most_loaded_worker():
    bench = Bench(load_balance_seconds=3.0)
    client, one, other = bench.client(), bench.worker("W1"), bench.worker("W2")
    for seconds, function in ((10.0, "long"), (1.0, "short")):
        client.submit(1, function)
        next(worker for worker in (one, other) if worker.held).complete(seconds=seconds)
    for function in ("long", "short", "short", "long"):
        client.submit(1, function)
    loaded, light = (one, other) if bench.state.workers["W1"].load_seconds == 20.0 else (other, one)
    light.complete(seconds=1.0)
    assert (loaded.held, light.held) == (2, 1)
    bench.effects.take()

    bench.advance(2.9)
    assert not bench.effects.take(m.RecallSlices)
    bench.advance(0.2)

    assert len(bench.effects.take(m.RecallSlices)) == 1
    loaded.give_back()
    assert (loaded.held, light.held) == (1, 2)
    assert bench.state.counts.balance_canceling == 1


@pytest.mark.parametrize("times", [1, 3])
def test_what_comes_back_to_its_worker_is_moved_again_only_after_so_many_periods(times):
    bench = Bench(load_balance_seconds=2.0, load_balance_trigger_times=times)
    client, one = bench.client(), bench.worker("W1")
    client.submit(2)
    other = bench.worker("W2")
    assert len(one.recalls) == 1

    def come_back():
        """Let the task return while the idle worker takes nothing, so that it goes where it was."""
        other.host.report(W2="stopped")
        one.give_back()
        assert one.held == 2
        other.host.report(W2="running")

    come_back()  # and somebody falls idle: that counts
    bench.advance(2.0 * (times - 1) - 0.1)
    assert len(one.recalls) == (times == 1)
    bench.advance(0.2)
    assert len(one.recalls) == 1
