"""The verdict on made-up figures, and a crowd of a few for some seconds; large and long by `hatch run load`."""

from random import Random

import pytest

from tests.load.__main__ import judge_all, report, run
from tests.load.verdict import judge


def noisy(slope, count=100):
    """Return a series around 100 that changes by `slope` a second, with noise and a steep beginning."""
    rng = Random(1)
    return [(float(at), 100 + slope * at + rng.gauss(0, 3) - max(0, 20 - at)) for at in range(count)]


def test_noise_and_a_steep_beginning_are_flat():
    assert judge("memory", noisy(0.0), share=0.1).is_flat
    assert judge("memory", noisy(0.0), share=0.1).text == "flat"


@pytest.mark.parametrize("falls", [False, True])
def test_growth_is_told_from_loss(falls):
    growing, shrinking = noisy(0.3), noisy(-0.3)

    assert judge("figure", growing, share=0.1, falls=falls).is_flat is falls
    assert judge("figure", shrinking, share=0.1, falls=falls).is_flat is not falls


def test_little_growth_of_a_small_figure_is_allowed():
    series = [(float(at), 1 + at / 50) for at in range(100)]

    assert not judge("files", series, share=0.1).is_flat
    assert judge("files", series, share=0.1, floor=2.0).is_flat


def test_too_little_tells_nothing():
    assert judge("memory", noisy(9.0, count=5), share=0.1).text == "too short to tell"
    assert judge("memory", [], share=0.1).is_flat


@pytest.mark.integration
@pytest.mark.slow
def test_a_few_clients_and_workers_come_and_go():
    figures, made = run(clients=4, workers=6, seconds=6.0, seed=1, pace=3.0)

    assert figures[-1].tasks > 0
    assert figures[-1].tasks == max(one.tasks for one in figures)
    assert set(made) == {"workers killed", "clients replaced", "adapters replaced"}
    assert len(report(figures, judge_all(figures), made).splitlines()) > 30
