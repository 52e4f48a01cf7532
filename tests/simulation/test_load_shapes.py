"""No flapping: groups start and stop as often as the load's shape and the cooldown make necessary, no more."""

import pytest

from tests.simulation.load_shapes import MAX_GROUPS, POLICIES, SHAPES, run

STEADY, SAWTOOTH, CLOSE_WAVES, WIDE_WAVES = SHAPES


@pytest.mark.parametrize("policy", POLICIES)
def test_a_steady_load_keeps_its_workers(policy):
    figures = run(STEADY, policy)

    assert figures.stops_under_load <= 3
    assert figures.starts <= figures.most + 2
    assert figures.left == 0


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("shape", [SAWTOOTH, CLOSE_WAVES], ids=lambda shape: shape.name)
def test_what_comes_again_within_the_cooldown_stops_nothing(shape, policy):
    figures = run(shape, policy)

    assert figures.stops_under_load == 0
    assert figures.starts == figures.most
    assert figures.left == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_pauses_longer_than_the_cooldown_cost_each_worker_one_start(policy):
    figures = run(WIDE_WAVES, policy)

    assert figures.waves > 10
    assert figures.starts == figures.waves * MAX_GROUPS
    assert figures.left == 0
