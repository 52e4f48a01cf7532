"""One lane for each set of capabilities that tasks ask for."""

import pytest

from scaler_scheduler.core.lanes import Lanes
from scaler_scheduler.core.state import Batch, Client, Function, Worker
from scaler_scheduler.policies.allocate import CAPABILITY, EVEN_LOAD
from tests.unit.scheduler.builders import submission


def worker(name, **capabilities):
    return Worker(name, name.encode(), 1, b"h", "", 1000, capabilities)


def enter(lanes, order, tasks=4, **capabilities):
    lane = lanes.enter(capabilities)
    batch = Batch(Client(b"A", "A"), submission(order, tasks), Function(b"f", "f", b""), lane, order, [], [])
    lane.ready.add(batch, 0, tasks)
    return batch


def test_lanes_by_capability_have_the_workers_that_suit():
    lanes = Lanes(CAPABILITY)
    plain, small, big, any_gpu = worker("p"), worker("s", gpu=1), worker("b", gpu=8), worker("a", gpu=-1)
    for one in (plain, small, big, any_gpu):
        lanes.update(one)

    assert list(lanes.enter({}).hungry.workers) == [plain, small, big, any_gpu]
    assert list(lanes.enter({"gpu": -1}).hungry.workers) == [small, big, any_gpu]
    assert list(lanes.enter({"gpu": 2}).hungry.workers) == [big, any_gpu]
    assert list(lanes.enter({"gpu": 2, "tpu": -1}).hungry.workers) == []


def test_the_order_of_capabilities_makes_no_other_lane():
    lanes = Lanes(CAPABILITY)

    assert lanes.enter({"a": 1, "b": 2}) is lanes.enter({"b": 2, "a": 1})


def test_even_load_has_one_lane():
    lanes = Lanes(EVEN_LOAD)

    assert lanes.enter({"gpu": 1}) is lanes.enter({})
    assert len(list(lanes)) == 1


def test_a_worker_that_comes_later_joins_the_lanes_it_suits_and_leaves_them_when_it_goes():
    lanes = Lanes(CAPABILITY)
    lane = lanes.enter({"gpu": 1})
    one = worker("w", gpu=1)
    lanes.update(one)
    assert list(lane.hungry.workers) == [one]

    lanes.remove(one)
    lanes.remove(one)
    assert not lane.hungry.workers


def test_the_next_task_is_the_first_that_somebody_can_run():
    lanes = Lanes(CAPABILITY)
    enter(lanes, 1, gpu=1)
    runnable = enter(lanes, 2)
    assert lanes.next() is None
    one = worker("w")
    lanes.update(one)

    assert lanes.next() == (runnable.lane, runnable, one)


def test_a_slice_has_at_most_half_a_workers_share():
    lanes = Lanes(EVEN_LOAD)
    batch = enter(lanes, 1, tasks=100)
    one = worker("one")
    assert batch.lane.fair_part(one, 0.001) == 50
    for index in range(10):
        lanes.update(worker(str(index)))
    assert batch.lane.fair_part(one, 0.001) == 5
    for index in range(1000):
        lanes.update(worker(f"more {index}"))
    assert batch.lane.fair_part(one, 0.001) == 1


@pytest.mark.parametrize(
    ("load_seconds", "task_seconds", "tasks"),
    [(0.0, 0.001, 1), (0.003, 0.001, 3), (0.04, 0.001, 10), (0.04, 0.02, 1), (0.04, None, 1)],
)
def test_where_even_the_least_loaded_worker_has_work_a_slice_has_a_grain_of_work(load_seconds, task_seconds, tasks):
    lanes = Lanes(EVEN_LOAD)
    batch = enter(lanes, 1, tasks=100)
    for index in range(1000):
        lanes.update(worker(str(index)))
    least = worker("least")
    least.load_seconds = load_seconds

    assert batch.lane.fair_part(least, task_seconds) == tasks


def test_a_few_lanes_without_tasks_are_kept_and_the_oldest_of_them_goes():
    lanes = Lanes(CAPABILITY)
    one = worker("w", a=-1)
    lanes.update(one)
    for index in range(20):
        lanes.leave(enter(lanes, index, tasks=0, a=index))

    assert len(list(lanes)) == 4
    assert len(lanes._workers[one]) == 4
    again = lanes.enter({"a": 19})
    assert again.batches == 1
    assert list(again.hungry.workers) == [one]
    for index in range(20, 40):
        lanes.leave(enter(lanes, index, tasks=0, a=index))
    assert again in list(lanes)


def test_the_lane_of_tasks_that_ask_for_nothing_stays():
    lanes = Lanes(EVEN_LOAD)
    batch = enter(lanes, 1, tasks=0)
    lanes.leave(batch)

    assert list(lanes) == [batch.lane]


def test_who_has_something_to_do_is_asked_lane_by_lane():
    lanes = Lanes(CAPABILITY)
    plain, gpu = worker("p"), worker("g", gpu=1)
    lanes.update(plain)
    lanes.update(gpu)
    enter(lanes, 1, gpu=1)

    assert lanes.has_ready(gpu)
    assert not lanes.has_ready(plain)
    assert lanes.ready_tasks == 4
