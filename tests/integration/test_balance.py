"""Work of uneven length is spread evenly, on real processes: told by what runs beside what, never by time."""

import os
from concurrent.futures import wait

import pytest

from scaler import Client, SchedulerClusterCombo
from tests.integration.commands import PATIENCE_SECONDS, wait_until
from tests.integration.test_cluster import nothing_left

pytestmark = pytest.mark.integration

WORKERS = 10


@pytest.fixture(scope="module")
def client():
    with nothing_left() as note, SchedulerClusterCombo(n_workers=WORKERS, logging_level="ERROR") as combo:
        with Client(combo.get_address()) as client:
            yield client
        note()


def test_ten_tasks_run_on_ten_idle_workers_at_once(client, tmp_path):
    """Each of them ends only when all have begun."""
    pids = client.starmap(_meet, [(tmp_path, number, WORKERS) for number in range(WORKERS)])

    assert len(set(pids)) == WORKERS


def test_a_long_task_holds_up_none_of_ten_thousand_that_came_with_it(client, tmp_path):
    """All call one function: nothing says beforehand which is long."""
    gate = tmp_path / "gate"
    futures = [client.submit(_pass, gate if number == 0 else None) for number in range(10_000)]

    assert not wait(futures[1:], timeout=PATIENCE_SECONDS).not_done
    assert not futures[0].done()
    gate.touch()
    assert futures[0].result(PATIENCE_SECONDS)


@pytest.mark.parametrize("stuck", [1, WORKERS - 1])
def test_workers_that_get_stuck_in_the_middle_keep_nothing_but_what_they_run(client, tmp_path, stuck):
    """Long tasks among short ones, where they come is not known: what was queued behind them runs elsewhere."""
    gate = tmp_path / "gate"
    long = {number * 500 + 250 for number in range(stuck)}
    futures = {number: client.submit(_pass, gate if number in long else None) for number in range(5_000)}
    short = [future for number, future in futures.items() if number not in long]

    assert not wait(short, timeout=PATIENCE_SECONDS).not_done
    assert not any(futures[number].done() for number in long)
    gate.touch()
    assert all(futures[number].result(PATIENCE_SECONDS) for number in long)


def test_a_worker_that_is_slow_runs_less(client, tmp_path):
    """It is still at its first task when the others have done all that is left."""
    slow = client.submit(os.getpid).result()
    gate = tmp_path / "gate"
    futures = [client.submit(_pass_unless, slow, gate) for _ in range(2_000)]
    wait_until(lambda: sum(not future.done() for future in futures) <= 1)

    gate.touch()
    pids = [future.result(PATIENCE_SECONDS) for future in futures]
    assert pids.count(slow) <= 1


def _meet(folder, number, count):
    (folder / str(number)).touch()
    wait_until(lambda: len(list(folder.iterdir())) >= count)
    return os.getpid()


def _pass(gate):
    if gate is not None:
        wait_until(gate.exists)
    return True


def _pass_unless(slow, gate):
    if os.getpid() == slow:
        wait_until(gate.exists)
    return os.getpid()
