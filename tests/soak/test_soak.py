"""The table of failures, shortened: every cell once, with some hundred tasks; again and again by `hatch run soak`."""

import pytest

from tests.soak.cast import Cast
from tests.soak.matrix import CELLS, run_cell

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def cast_for():
    """Give the processes for a cell; both kinds are started when they are wanted first."""
    casts = {}

    def give(cell):
        if cell.own_storage not in casts:
            casts[cell.own_storage] = Cast(own_storage=cell.own_storage)
            casts[cell.own_storage].start()
        return casts[cell.own_storage]

    try:
        yield give
        for cast in casts.values():
            cast.stop()
    finally:
        for cast in casts.values():
            cast.kill()


@pytest.mark.parametrize("cell", CELLS, ids=[cell.name for cell in CELLS])
def test_every_future_ends_every_result_is_right_and_nothing_is_kept(cast_for, cell):
    run = run_cell(cast_for(cell), cell, tasks=400, seed=1)

    assert run.hits == 1, "the client had ended before"
    assert cell.client_ends or sum(run.outcomes.values()) == 400 * cell.share
