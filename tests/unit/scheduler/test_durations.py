"""How long tasks of a function take."""

import math

import pytest

from scaler_scheduler.core.durations import LEAST_SECONDS, Durations

F = b"f"


def test_nothing_is_known_at_first():
    assert Durations().of(F) is None


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
