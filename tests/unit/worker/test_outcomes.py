"""Outcomes on their way from the main thread to the IO thread."""

import pickle

import pytest

from scaler_protocol import batch
from scaler_protocol.batch import Status, check_results
from scaler_protocol.identifiers import result_key
from scaler_worker import outcomes as outcomes_module
from scaler_worker.outcomes import Outcomes
from scaler_worker.workload import Piece
from tests.unit.worker.stage import decode, function, shape, values


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def outcomes(clock):
    return Outcomes(clock)


def piece(slice_id=7):
    return Piece.of(values(range(100), slice_id=slice_id), function(abs))


def test_a_span_is_one_run(outcomes, clock):
    outcomes.begin(piece(), 10)
    outcomes.values += [1, 2, 3]
    clock.now += 6
    assert outcomes.position() == 13
    outcomes.end()
    (results,) = outcomes.take()
    check_results(results)
    (run,) = decode(results)
    assert (run.start, run.count, run.status, run.seconds) == (10, 3, Status.VALUES, 6.0)
    assert pickle.loads(run.payload) == [1, 2, 3]
    assert (results.slice_id, results.client_id, results.batch_id) == (7, b"Client|1", 3)
    assert outcomes.take() == []


def test_what_is_finished_may_be_taken_while_its_neighbour_runs(outcomes, clock):
    outcomes.begin(piece(), 0)
    append = outcomes.values.append
    append("a")
    append("b")
    clock.now += 1
    first = decode(outcomes.take()[0])
    append("c")
    clock.now += 5
    outcomes.end()
    second = decode(outcomes.take()[0])
    assert [(pickle.loads(run.payload), run.start, run.seconds) for run in first + second] == [
        (["a", "b"], 0, 1.0),
        (["c"], 2, 5.0),
    ]


def test_other_outcomes_keep_their_place(outcomes, clock):
    outcomes.begin(piece(), 0)
    outcomes.values += [1, 2]
    clock.now += 3
    outcomes.add(Status.VALUE, b"x")
    clock.now += 1
    outcomes.add(Status.EXITED, b"gone", seconds=0.5)
    outcomes.values.append(3)
    outcomes.end()
    runs = decode(outcomes.take()[0])
    assert shape(runs) == [
        (0, 2, Status.VALUES),
        (2, 1, Status.VALUE),
        (3, 1, Status.EXITED),
        (4, 1, Status.VALUES),
    ]
    assert [run.seconds for run in runs] == [2.0, 1.0, 0.5, 0.0]


def test_each_slice_has_its_own_message(outcomes):
    for slice_id in (1, 2):
        outcomes.begin(piece(slice_id), 0)
        outcomes.values.append(slice_id)
        outcomes.end()
        outcomes.begin(outcomes._reports[-1].piece, 1)
        outcomes.values.append(slice_id)
        outcomes.end()
    assert outcomes.has_unsent
    assert [(results.slice_id, shape(decode(results))) for results in outcomes.take()] == [
        (1, [(0, 1, Status.VALUES), (1, 1, Status.VALUES)]),
        (2, [(0, 1, Status.VALUES), (1, 1, Status.VALUES)]),
    ]


def test_too_much_for_one_message_is_divided(outcomes, monkeypatch):
    monkeypatch.setattr(outcomes_module, "MAX_INLINE_BYTES", 400)
    outcomes.begin(piece(), 0)
    outcomes.values += ["x" * 150, "y" * 150, "z" * 150, "w" * 1000]
    outcomes.end()
    messages = outcomes.take()
    runs = [run for results in messages for run in decode(results)]
    assert shape(runs) == [(0, 2, Status.VALUES), (2, 1, Status.VALUES), (3, 1, Status.TOO_LARGE)]
    assert all(len(results.payload) <= 400 or len(decode(results)) == 1 for results in messages)
    assert batch.MAX_INLINE_BYTES != 400


def test_one_that_is_too_large_may_be_stored(outcomes, monkeypatch):
    monkeypatch.setattr(outcomes_module, "MAX_INLINE_BYTES", 100)
    asked = []
    outcomes.store_large = lambda task, value: asked.append((task, value, outcomes.key(task))) or (Status.STORED, b"x")
    large = 1 << 2000
    outcomes.begin(piece(), 4)
    outcomes.values += [1, large, 2]
    outcomes.end()
    runs = [run for results in outcomes.take() for run in decode(results)]
    assert shape(runs) == [(4, 1, Status.VALUES), (5, 1, Status.STORED), (6, 1, Status.VALUES)]
    assert asked == [(5, large, result_key(b"Client|1", 7, 5))]


def test_size_counts_what_waits(outcomes):
    outcomes.begin(piece(), 0)
    outcomes.add(Status.VALUE, b"x" * 1000)
    assert outcomes.size == 1000
    outcomes.take()
    assert outcomes.size == 0


def test_the_owner_of_results_is_their_client(outcomes):
    outcomes.begin(piece(), 0)
    assert outcomes.client_id == b"Client|1"


def test_the_key_of_a_result_is_that_of_its_task(outcomes):
    here = piece(slice_id=9)
    outcomes.begin(here, 3)
    outcomes.values.append(1)
    assert outcomes.key() == result_key(here.assigned.client_id, 9, 4)
