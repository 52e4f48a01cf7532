"""How long tasks of a function take."""

import math

import pytest

from scaler_scheduler.core.durations import AVERAGED_SECONDS, AVERAGED_TASKS, LEAST_SECONDS, Durations

F = b"f"


def test_nothing_is_known_at_first():
    assert Durations().of(F) is None
    assert Durations().average_of(F) is None


def test_the_first_results_are_taken_as_they_are():
    durations = Durations()
    durations.add(F, 3.0, 3)

    assert durations.of(F) == 1.0


def test_newer_results_weigh_more_than_older_ones_and_many_more_than_one():
    one, many = Durations(), Durations()
    for durations, tasks in ((one, 1), (many, 1000)):
        durations.add(F, 1.0, 1)
        durations.add(F, 2.0 * tasks, tasks)

    assert one.of(F) == pytest.approx(1.3)
    assert many.of(F) == pytest.approx(2.0, abs=0.01)


def test_the_average_is_that_of_all_tasks_and_says_for_how_long_they_were_measured():
    durations = Durations()
    durations.add(F, 1.0, 1)
    durations.add(F, 2.0, 5)

    assert durations.average_of(F) == (0.5, 3.0)


def test_the_average_forgets_old_tasks_once_there_are_enough_of_them():
    durations = Durations()
    durations.add(F, 0.001 * AVERAGED_TASKS, AVERAGED_TASKS)
    for _ in range(5):
        durations.add(F, 0.002 * AVERAGED_TASKS, AVERAGED_TASKS)

    each, seconds = durations.average_of(F)
    assert each == pytest.approx(0.002, rel=0.05)
    assert seconds == pytest.approx(each * AVERAGED_TASKS)


def test_short_tasks_of_which_some_were_held_up_are_averaged_over_a_second():
    durations = Durations()
    for _ in range(300):
        durations.add(F, 1e-6 * AVERAGED_TASKS, AVERAGED_TASKS)
    assert durations.average_of(F)[1] >= AVERAGED_SECONDS

    durations.add(F, 0.05, AVERAGED_TASKS)

    assert durations.average_of(F)[0] < 1.1e-6
    assert durations.of(F) > 1e-5


@pytest.mark.parametrize(
    ("seconds", "known"), [(0.0, LEAST_SECONDS), (-5.0, LEAST_SECONDS), (math.nan, LEAST_SECONDS), (math.inf, 1e9)]
)
def test_a_worker_that_says_nonsense_spoils_no_sum(seconds, known):
    durations = Durations()
    durations.add(F, seconds, 1)

    assert durations.of(F) == known


def test_a_forgotten_function_is_unknown():
    durations = Durations()
    durations.add(F, 1.0, 1)
    durations.forget(F)
    durations.forget(F)

    assert durations.of(F) is None
