"""A turn asks only those whom it concerns, and whoever is forgotten is found out."""

import pytest

from scaler_runtime import core as c
from tests.unit.scheduler.builders import Bench


def concerned(bench):
    return [type(part).__name__ for part in bench.core._parts if part.is_concerned]


def test_a_task_concerns_nobody_but_who_gives_it_out():
    bench = Bench("allocate=even_load; scaling=vanilla")
    client, worker = bench.client(), bench.worker()
    client.submit(1)
    worker.complete()
    assert concerned(bench) == []
    bench.settles = False

    client.submit(1)
    assert concerned(bench) == ["Dispatch", "Waiting"]
    bench.settle()
    assert concerned(bench) == []
    worker.complete()
    assert concerned(bench) == ["Dispatch"]
    bench.settle()
    assert concerned(bench) == []
    assert bench.core.next_wakeup() is None


def test_who_is_not_asked_though_something_is_due_is_found_out():
    bench = Bench()
    client = bench.client()
    client.vanish()
    retention = bench.core._clients.retention
    bench.core.check(bench.now)
    retention.is_concerned = False
    with pytest.raises(AssertionError, match="Retention was not asked"):
        bench.core.check(bench.now)
    retention.is_concerned = False
    with pytest.raises(AssertionError, match="Retention was not asked"):
        bench.core.check(bench.now + 3600.0)


def test_a_part_that_is_concerned_is_not_asked_by_the_check():
    bench = Bench()
    client = bench.client()
    client.vanish()

    bench.core.check(bench.now + 3600.0)

    assert bench.core.handle(c.Settle(), bench.now + 3600.0) == [c.DeleteOwner(client.peer)]
