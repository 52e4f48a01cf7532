"""Some thousand messages to the cores, which only mean well by chance."""

import pytest

from tests.fuzz.cores import SchedulerFuzz, StoreFuzz


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_the_scheduler_stays_consistent(first):
    for seed in range(first, first + 10):
        SchedulerFuzz(seed).run(300)


def test_the_object_storage_stays_consistent():
    for seed in range(10):
        StoreFuzz(seed).run(300)
