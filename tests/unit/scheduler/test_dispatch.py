"""How batches become slices: how many tasks, in what order, and what becomes of the answers."""

import pytest

from scaler_protocol import messages as m
from scaler_protocol.batch import F64, U8, U32, U64, Encoding, Status, column, numbers
from scaler_protocol.errors import ProtocolError
from scaler_protocol.identifiers import result_key
from scaler_runtime import core as c
from tests.unit.scheduler.builders import Bench, function_id, learn, results, stored_key

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


# ---- stored results


def test_a_stored_result_that_arrives_stays():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = client.submit(1)

    worker.complete(status=Status.STORED)

    assert client.statuses(batch) == [Status.STORED]
    assert bench.deleted == []


def test_a_late_stored_result_is_removed():
    bench = Bench()
    client, one = bench.client(), bench.worker("W1")
    client.submit(1)
    slice_id, _ = one.running()
    one.end(hello=True)
    bench.deleted.clear()

    one.say(results(slice_id, b"A", 1, 0, 1, status=Status.STORED))

    assert bench.deleted == [stored_key(0)]


@pytest.mark.parametrize("cause", ["signal", "exit", "cancelled", "timeout", "planned"])
def test_what_a_process_stored_without_a_word_is_removed_when_it_has_ended(cause):
    """Its name follows from the task: it is not known whether there is anything."""
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    learn(bench, client, worker, 0.001)
    batch = client.submit(5)
    worker.complete(1, status=Status.STORED)
    unheard = [(slice_id, task) for slice_id, (_, start, stop) in worker.slices.items() for task in range(start, stop)]
    assert [task for _, task in unheard] == [1, 2, 3, 4]
    worker.end(cause, 9)

    assert bench.deleted == [result_key(b"A", *place) for place in unheard]
    assert client.statuses(batch)[:1] == [Status.STORED]


def test_what_a_process_stored_that_may_come_back_stays():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    client.submit(1)
    worker.vanish()

    assert bench.deleted == []


@pytest.mark.parametrize("leaves", [True, False])
def test_stored_results_that_nobody_wants_any_more_are_removed(leaves):
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = client.submit(2)
    if leaves:
        client.leave()
    else:
        client.abandon(batch)

    worker.complete(status=Status.STORED)

    assert bench.deleted == [stored_key(0)]


def test_a_stored_result_of_a_worker_nobody_knows_is_removed():
    bench = Bench()
    bench.handle(c.PeerJoined(b"X", m.Register("worker", b"X", b"", "", 1, "", "", "", 1, b"", 0)))
    named, nameless = results(1, b"A", 1, 0, 2, status=Status.STORED), results(1, b"A", 1, 0, 1)
    nameless.statuses = column(U8, [Status.STORED])

    bench.say(b"X", named)
    bench.say(b"X", nameless)

    assert bench.deleted == [stored_key(0), stored_key(1)]


# ---- results that are out of place


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
