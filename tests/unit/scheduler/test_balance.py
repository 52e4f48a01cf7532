"""Who gives tasks back when somebody else has nothing to do."""

import pytest

from scaler_scheduler.core.balance import RECALL_WORTH_SECONDS, STUCK_SECONDS, Balance
from scaler_scheduler.core.lanes import Lanes
from scaler_scheduler.core.state import Batch, Client, Function, Slice, Worker
from scaler_scheduler.policies.allocate import EVEN_LOAD
from tests.unit.scheduler.builders import submission


class Scene:
    """Workers of one lane."""

    def __init__(self):
        self.lanes = Lanes(EVEN_LOAD)
        self.balance = Balance()
        lane = self.lanes.enter({})
        self.batch = Batch(Client(b"A", "A"), submission(1, 1), Function(b"f", "f", b""), lane, 1, [], [])

    def worker(self, outstanding=0, load=0.0):
        made = Worker("w", b"w", 1, b"h", "", 1000, {}, outstanding=outstanding, load_seconds=load, progressed_at=100.0)
        if outstanding:
            made.slices[1] = Slice(1, self.batch, made, 0, outstanding, load / outstanding)
        self.note(made)
        return made

    def note(self, worker):
        self.lanes.update(worker)
        self.balance.note(worker)

    def donors(self, now=100.0):
        return self.balance.donors(now, self.lanes.idle())


def test_each_idle_worker_has_one_donor_the_most_loaded_first():
    scene = Scene()
    scene.worker(3, 0.3)
    heavy, heavier = scene.worker(4, 0.4), scene.worker(5, 0.5)
    assert scene.donors() == []
    scene.worker()
    scene.worker()

    assert scene.donors() == [heavier, heavy]


def test_recalls_under_way_count_as_supply():
    scene = Scene()
    scene.worker(3, 0.3)
    scene.worker()
    scene.balance.recalls = 1

    assert scene.donors() == []


@pytest.mark.parametrize("state", ["draining", "stopped", "recalled", "one task"])
def test_some_give_nothing(state):
    scene = Scene()
    donor = scene.worker(1 if state == "one task" else 3, 0.3)
    scene.worker()
    donor.draining = state == "draining"
    donor.stopped_since = 1.0 if state == "stopped" else None
    donor.recalls = int(state == "recalled")
    scene.note(donor)

    assert scene.donors() == []
    assert not scene.balance.is_wanted(scene.lanes)


def test_little_work_is_not_worth_it_until_its_worker_is_stuck():
    scene = Scene()
    donor = scene.worker(2, RECALL_WORTH_SECONDS)
    scene.worker()

    assert scene.donors(100.0) == []
    assert scene.balance.is_wanted(scene.lanes)
    assert scene.donors(100.0 + 2 * STUCK_SECONDS) == [donor]


def test_nothing_is_taken_back_while_something_is_ready():
    scene = Scene()
    scene.worker(3, 0.3)
    scene.worker()
    scene.batch.lane.ready.add(scene.batch, 0, 1)

    assert scene.donors() == []
    assert not scene.balance.is_wanted(scene.lanes)


def test_who_has_gone_neither_gives_nor_takes():
    scene = Scene()
    donor, idle = scene.worker(3, 0.3), scene.worker()
    scene.balance.remove(idle)
    assert scene.donors() == []
    scene.note(idle)
    scene.balance.remove(donor)
    assert scene.donors() == []
