"""The table of failures, shortened: most cells once, with some hundred tasks; all of them by `hatch run soak`."""

import signal

import pytest

from tests.soak.cast import Cast
from tests.soak.matrix import CELLS, run_cell

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def cast():
    cast = Cast()
    try:
        cast.start()
        yield cast
        cast.stop()
    finally:
        cast.kill()


SOME = [cell for cell in CELLS if cell.number != signal.SIGSTOP or cell.victim in {"worker", "scheduler"}]
"""A stop takes longer than every timeout."""


@pytest.mark.parametrize("cell", SOME, ids=[cell.name for cell in SOME])
def test_every_future_ends_and_every_result_is_right(cast, cell):
    outcomes = run_cell(cast, cell, tasks=400, seed=1)

    assert cell.client_ends or sum(outcomes.values()) == 400
