"""The simulation can fail: what is broken on purpose is noticed, and executions are counted one by one."""

from collections import Counter
from unittest.mock import Mock

import pytest

from scaler_protocol import messages as m
from scaler_protocol.batch import U32, numbers
from scaler_scheduler.core.dispatch import Dispatch
from scaler_scheduler.core.lending import Lending
from scaler_scheduler.core.outcomes import Outcomes
from tests.simulation.faults import NONE
from tests.simulation.simulation import Broken, Simulation
from tests.simulation.workers import Worker


def run_some():
    for seed in range(25):
        Simulation(seed).run()


@pytest.mark.parametrize("seed", range(20))
def test_without_faults_nothing_is_executed_twice(seed, monkeypatch):
    executions = Counter()
    send = Worker.send

    def count(self, message):
        if isinstance(message, m.TaskResults):
            for start, number in zip(numbers(U32, message.starts), numbers(U32, message.counts), strict=True):
                executions.update((message.client_id, message.batch_id, start + place) for place in range(number))
        send(self, message)

    monkeypatch.setattr(Worker, "send", count)
    Simulation(seed, NONE).run()

    assert executions
    assert set(executions.values()) == {1}


def test_a_task_that_is_not_made_ready_again_is_noticed(monkeypatch):
    requeue = Dispatch._requeue
    monkeypatch.setattr(
        Dispatch, "_requeue", lambda self, batch, start, stop: requeue(self, batch, start, max(start, stop - 1))
    )
    with pytest.raises(AssertionError, match="a task is lost"):
        run_some()


def test_a_second_outcome_is_noticed(monkeypatch):
    on_results = Dispatch.on_results

    def twice(self, worker, results, now):
        piece = worker.slices.get(results.slice_id)
        on_results(self, worker, results, now)
        if piece is not None and results.slice_id == 0:  # it was passed on
            self._out.send(piece.batch.client.peer, results)

    monkeypatch.setattr(Dispatch, "on_results", twice)
    with pytest.raises(Broken, match="two outcomes"):
        run_some()


def test_tasks_that_wait_for_tasks_without_a_place_are_noticed(monkeypatch):
    monkeypatch.setattr(Lending, "lend", Mock())
    with pytest.raises(Broken, match="not worked off"):
        run_some()


def test_a_result_that_does_not_reach_who_waits_for_it_is_noticed(monkeypatch):
    monkeypatch.setattr(Outcomes, "pass_on", lambda *_: None)
    with pytest.raises(AssertionError, match="is over"):
        run_some()


def test_a_task_that_runs_without_what_it_needs_is_noticed(monkeypatch):
    submit = Dispatch.submit
    monkeypatch.setattr(
        Dispatch,
        "submit",
        lambda self, client, batch, function, accepted, _links=None: submit(self, client, batch, function, accepted),
    )
    with pytest.raises(Broken, match="has run without what it needs"):
        run_some()
