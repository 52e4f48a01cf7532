"""`check` finds tables that do not agree."""

from types import SimpleNamespace

import pytest

from scaler_protocol import messages as m
from scaler_runtime.core import Log, Send, Stop
from scaler_scheduler.core.state import Outbox
from tests.unit.scheduler.builders import Bench


@pytest.fixture
def bench():
    made = Bench()
    client = made.client()
    made.worker(group="g")
    client.submit(5)
    made.state.check()
    return made


SPOILT = {
    "a ready task is gone": lambda on: on.batch.ready.take_first(1),
    "a task is ready and held": lambda on: on.batch.ready.add(0, 1),
    "a batch misses a slice": lambda on: on.batch.slices.popitem(),
    "a worker misses a slice": lambda on: on.worker.slices.popitem(),
    "a count of tasks held": lambda on: setattr(on.worker, "outstanding", 7),
    "a count of recalls": lambda on: setattr(on.worker, "recalls", 1),
    "a count of unfinished tasks": lambda on: setattr(on.batch, "unfinished", 4),
    "a batch that nobody will find": lambda on: setattr(on.batch, "queued", False),
    "a client's count": lambda on: setattr(on.batch.client, "ready_tasks", 0),
    "the total": lambda on: setattr(on.state, "unfinished_tasks", 4),
    "a function's count": lambda on: setattr(on.batch.function, "unfinished", 4),
    "a busy function": lambda on: on.state.busy.clear(),
    "the members of groups": lambda on: on.state.members.clear(),
    "the workers by peer": lambda on: on.state.worker_of_peer.clear(),
    "the workers of a host": lambda on: on.state.hosts[b"H"].workers.clear(),
    "a slice that is not held": lambda on: setattr(next(iter(on.worker.slices.values())), "is_held", False),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_a_table_that_is_off_is_found(bench, spoil):
    state = bench.state
    (batch,) = state.clients[b"A"].batches.values()

    spoil(SimpleNamespace(state=state, batch=batch, worker=state.workers["W"]))

    with pytest.raises((AssertionError, KeyError)):
        state.check()


def test_a_group_has_one_adapter(bench):
    bench.adapter("N").set("g-1", "ready")
    other = bench.adapter("N2")
    bench.state.adapters[other.peer].groups.update(bench.state.adapters[b"N"].groups)

    with pytest.raises(AssertionError, match="two adapters"):
        bench.state.check()


def test_effects_leave_in_order_and_once():
    out = Outbox()
    out.send(b"A", m.Shutdown("x"))
    out.log(20, "text")
    out.stop("reason")

    assert out.take() == [Send(b"A", m.Shutdown("x")), Log(20, "text"), Stop("reason")]
    assert out.take() == []
