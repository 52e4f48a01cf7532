"""Who gets the next tasks, and how many."""

import pytest

from scaler_scheduler.core.hungry import AHEAD_SECONDS, HungryWorkers, is_hungry, room
from scaler_scheduler.core.state import Worker


def worker(*, outstanding=0, load=0.0, queue_size=1000):
    made = Worker("w", b"w", 1, b"h", "", queue_size, {})
    made.outstanding, made.load_seconds = outstanding, load
    return made


def test_who_has_the_fewest_tasks_is_first_and_of_equal_ones_who_has_the_least_work():
    long, light, heavy = (
        worker(outstanding=1, load=5.0),
        worker(outstanding=3, load=0.01),
        worker(outstanding=3, load=0.02),
    )
    hungry = HungryWorkers()
    for one in (heavy, light, long):
        hungry.add(one)

    for expected in (long, light, heavy):
        assert hungry.first() is expected
        hungry.set_aside()


def test_a_change_makes_older_entries_stale():
    one, other = worker(), worker(outstanding=3, load=0.01)
    hungry = HungryWorkers()
    hungry.add(one)
    hungry.add(other)
    one.load_seconds, one.outstanding, one.version = 1.0, 5, 1
    hungry.update(one)

    assert hungry.first() is other
    hungry.remove(other)
    assert hungry.first() is None


def test_stale_entries_do_not_pile_up():
    one = worker()
    hungry = HungryWorkers()
    hungry.add(one)
    for version in range(1000):
        one.version = version + 1
        hungry.update(one)

    assert len(hungry._heap) < 100
    assert hungry.first() is one


@pytest.mark.parametrize("state", ["draining", "stopped"])
def test_who_is_draining_or_stopped_is_not_hungry(state):
    one = worker()
    assert is_hungry(one)
    if state == "draining":
        one.draining = True
    else:
        one.stopped_since = 1.0

    assert not is_hungry(one)


def test_of_unknown_duration_there_is_one_at_a_time_beside_the_running_one():
    assert room(worker(), None) == 1
    assert room(worker(outstanding=1, load=0.05), None) == 1
    assert room(worker(outstanding=2, load=0.1), None) == 0


def test_long_tasks_come_one_beside_the_running_one():
    assert room(worker(), 1.0) == 1
    assert room(worker(outstanding=1, load=1.0), 1.0) == 1
    assert room(worker(outstanding=2, load=2.0), 1.0) == 0


def test_short_tasks_fill_the_time_ahead_even_beyond_the_queue_size():
    assert room(worker(queue_size=10), 0.0001) == pytest.approx(AHEAD_SECONDS / 0.0001, abs=1)
    assert room(worker(outstanding=10, load=0.04, queue_size=10), 0.0001) == pytest.approx(100, abs=1)


def test_a_queue_of_one_holds_one_long_task():
    assert room(worker(queue_size=1), 1.0) == 1
    assert room(worker(queue_size=1, outstanding=1, load=1.0), 1.0) == 0
    assert room(worker(queue_size=1, outstanding=1, load=1.0), None) == 0


def test_a_helper_takes_only_tasks_of_higher_priority_than_the_one_that_waits():
    helper, deeper = worker(), worker()
    hungry = HungryWorkers()
    for one, floor in ((helper, 0.0), (deeper, 1.0)):
        one.lender, one.floor = "w", floor
        hungry.add(one)

    assert hungry.first(0) is None
    assert hungry.first(1) is helper
    assert hungry.first(2) is deeper  # the other one may take what this may not
