"""A scheduler that crashes and comes back costs no task that still runs a second start."""

import contextlib
from collections import Counter
from dataclasses import replace

import pytest

from tests.simulation.faults import NONE
from tests.simulation.simulation import Broken, Simulation
from tests.simulation.workers import Worker

CRASHES = replace(NONE, scheduler_crash_rate=0.08, delay_seconds=0.05)


class Watch:
    """Notes what is started where, and what is started while it still runs elsewhere."""

    def __init__(self, monkeypatch):
        self.started = Counter()
        self.twice = []
        self._running = {}
        begin, finish = Worker._begin, Worker._finish

        def begins(worker):
            begin(worker)
            piece = worker.running
            for task in range(piece.next, piece.claimed) if piece is not None else ():
                key = (piece.assigned.client_id, piece.assigned.batch_id, task)
                other = self._running.get(key)
                if other is not None and other is not worker and other.is_alive:
                    self.twice.append((key, other.name, worker.name))
                self._running[key] = worker
                self.started[key] += 1

        def finishes(worker, piece, seconds):
            for task in range(piece.next, piece.claimed):
                self._running.pop((piece.assigned.client_id, piece.assigned.batch_id, task), None)
            finish(worker, piece, seconds)

        monkeypatch.setattr(Worker, "_begin", begins)
        monkeypatch.setattr(Worker, "_finish", finishes)

    def next(self):
        """Forget one simulation; returns how many tasks it had, and how often some were started again."""
        tasks, again = len(self.started), sum(self.started.values()) - len(self.started)
        self.started.clear()
        self._running.clear()
        return tasks, again


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_what_still_runs_is_not_started_again(first, monkeypatch):
    watch = Watch(monkeypatch)
    crashes, all_tasks, all_again = 0, 0, 0
    for seed in range(first, first + 10):
        simulation = Simulation(seed, CRASHES)
        simulation.run()
        crashes += simulation.server.instances - 1
        tasks, again = watch.next()
        all_tasks, all_again = all_tasks + tasks, all_again + again

    assert crashes > 5
    assert watch.twice == []
    assert all_again < all_tasks / 20, "too many tasks ran again that were finished and not delivered"


def test_without_resumption_it_is_noticed(monkeypatch):
    monkeypatch.setattr("tests.simulation.workers.held_slices", lambda *_: [])
    watch = Watch(monkeypatch)
    for seed in range(20):
        with contextlib.suppress(Broken):  # tasks that wait for nested ones keep their workers
            Simulation(seed, CRASHES).run()
        watch.next()
        if watch.twice:
            break

    assert watch.twice
