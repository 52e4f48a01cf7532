"""What waits, what runs, and what is given back."""

import threading

import pytest

from scaler_protocol import messages as m
from scaler_protocol.batch import U32, Encoding, Status, column
from scaler_worker.record import SLICE, TASK
from scaler_worker.workload import Piece, Workload
from tests.unit.worker.stage import function, new_record, values


@pytest.fixture
def record():
    return new_record()


@pytest.fixture
def workload(record):
    return Workload(record)


def piece(tasks=10, **options):
    return Piece.of(values(range(tasks), **options), function(abs))


def test_slices_come_in_order_higher_priorities_first(workload):
    for slice_id, priority in ((1, 0), (2, 0), (3, 5), (4, 1), (5, 5)):
        workload.put(piece(slice_id=slice_id, priority=priority))
    assert [workload.take(0).assigned.slice_id for _ in range(5)] == [3, 5, 4, 1, 2]
    assert workload.take(0) is None


def test_taking_a_slice_says_what_runs(workload, record):
    workload.put(piece(start=4))
    assert record.running() is None
    taken = workload.take(0)
    assert (record.running().slice_id, record.running().task) == (7, 4)
    assert workload.finish(taken, 10)
    assert record.running() is None


def test_a_slice_that_waits_is_returned_whole(workload):
    workload.put(piece(start=2))
    assert workload.recall(7, 0) == 2
    assert workload.is_empty
    assert workload.take(0) is None
    assert workload.recall(7, 0) is None


def test_a_slice_that_waits_is_returned_in_part(workload):
    workload.put(piece())
    assert workload.recall(7, 6) == 6
    assert workload.recall(7, 8) == 6
    assert workload.take(0).limit == 6


@pytest.mark.parametrize(
    ("current", "limit", "end"),
    [(0, 0, 1), (3, 0, 4), (3, 3, 4), (3, 4, 4), (3, 7, 7), (9, 0, 10), (3, 20, 10)],
)
def test_what_runs_is_kept(workload, record, current, limit, end):
    workload.put(piece())
    taken = workload.take(0)
    record.numbers[TASK] = current
    assert workload.recall(7, limit) == end
    assert taken.limit == end


def test_a_task_written_before_the_limit_was_lowered_is_run(workload, record):
    """The main thread has written task 3 and reads the limit only now, when it is 3 already: it asks again."""
    workload.put(piece())
    taken = workload.take(0)
    record.numbers[TASK] = 3
    end = workload.recall(7, 2)
    assert end == 4
    assert not workload.finish(taken, 3)
    assert workload.finish(taken, 4)


def test_claimed_tasks_are_not_given_back(workload):
    workload.put(piece())
    taken = workload.take(0)
    assert workload.claim(taken, 8) == 8
    assert workload.recall(7, 0) == 8
    assert workload.claim(taken, 10) == 8


def test_for_a_new_scheduler_only_the_running_task_is_kept(workload, record):
    workload.put(piece(slice_id=1))
    workload.put(piece(slice_id=2))
    running = workload.take(0)
    record.numbers[TASK] = 4
    assert workload.keep_running() is running
    assert running.limit == 5
    assert not workload.finish(running, 4)
    assert workload.finish(running, 5)
    assert workload.take(0) is None
    assert record.numbers[SLICE] == 0
    assert workload.keep_running() is None


def test_neighbours_are_those_that_may_finish_while_another_runs(workload, record):
    assert not workload.has_neighbours()
    workload.put(piece(tasks=1))
    assert not workload.has_neighbours()
    workload.put(piece(tasks=2, slice_id=8))
    assert workload.has_neighbours()
    workload.finish(workload.take(0), 1)
    workload.take(0)
    record.numbers[TASK] = 1
    assert not workload.has_neighbours()


def test_taking_waits_for_a_slice(workload):
    taken = []
    thread = threading.Thread(target=lambda: taken.append(workload.take(30)))
    thread.start()
    workload.put(piece(slice_id=9))
    thread.join(30)
    assert taken[0].assigned.slice_id == 9


def test_taking_gives_up_after_a_while(workload):
    assert workload.take(0.001) is None
    workload.put(piece())
    assert workload.take(0.001) is not None
    assert workload.take(0.001) is None


def test_blocks_are_found_by_task():
    found = Piece.of(values([10, 11], [12, 13, 14], [15], first=10, start=11, stop=14), function(abs))
    assert found.block_of(11)[1:] == (10, 12)
    assert found.block_of(12)[1:] == (12, 14)
    assert found.block_of(13)[1:] == (12, 14)


def test_recall_and_start_never_lose_or_double_a_task():
    """Two threads: one runs tasks as the executor does, the other recalls; together they have each task once."""
    for attempt in range(60):
        record = new_record()
        workload = Workload(record)
        workload.put(piece(tasks=400))
        ran = []
        go = threading.Barrier(2)

        def run(workload=workload, record=record, ran=ran, go=go):
            taken = workload.take(1)
            go.wait()
            task = 0
            while not workload.finish(taken, task):
                while task < 400:
                    record.numbers[TASK] = task
                    if task >= taken.limit:
                        break
                    ran.append(task)
                    task += 1

        thread = threading.Thread(target=run)
        thread.start()
        go.wait()
        ends = [workload.recall(7, limit) for limit in (300, 150, attempt)]
        thread.join(30)
        answered = [end for end in ends if end is not None]
        assert ran == list(range(answered[-1] if answered else 400))


def test_each_task_has_the_results_that_it_waited_for():
    assigned = m.AssignSlice(
        slice_id=7,
        client_id=b"Client|1",
        batch_id=3,
        function_id=b"f",
        start=4,
        stop=6,
        first=3,
        priority=0,
        encoding=Encoding.LINKED,
        timed=False,
        block_counts=column(U32, [1, 1, 1]),
        block_sizes=column(U32, [1, 1, 1]),
        payload=b"xyz" + b"one" + b"several",
        dependency_counts=column(U32, [1, 0, 2]),
        dependency_statuses=bytes([Status.VALUE, Status.VALUES, Status.VALUE]),
        dependency_positions=column(U32, [0, 5, 0]),
        dependency_sizes=column(U32, [3, 7, 0]),
        dependency_repeats=column(U32, [0, 0, 1]),
    )
    piece = Piece.of(assigned, function(abs))
    assert piece.is_calls
    assert [[(r.status, r.position, bytes(r.run)) for r in piece.awaited_of(task)] for task in (3, 4, 5)] == [
        [(Status.VALUE, 0, b"one")],
        [],
        [(Status.VALUES, 5, b"several"), (Status.VALUE, 0, b"one")],
    ]


def test_most_tasks_waited_for_none():
    assert piece().awaited_of(3) == ()


def test_the_tables_are_proven_consistent(workload):
    workload.check()
    for slice_id in (1, 2, 3, 4):
        workload.put(piece(slice_id=slice_id))
    taken = workload.take(0)
    workload.recall(1, 3)
    workload.recall(2, 5)
    workload.recall(3, 0)
    workload.check()
    workload.finish(taken, 10)
    workload.keep_running()
    workload.check()
    workload._queued += 1
    with pytest.raises(AssertionError):
        workload.check()
