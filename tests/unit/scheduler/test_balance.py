"""Who gives tasks back when somebody else has nothing to do."""

import pytest

from scaler_scheduler.core.balance import RECALL_WORTH_SECONDS, STUCK_SECONDS, Balance
from scaler_scheduler.core.lanes import Lanes
from scaler_scheduler.core.state import Batch, Client, Function, Slice, Worker
from scaler_scheduler.policies.allocate import EVEN_LOAD
from tests.unit.scheduler.builders import submission


class Scene:
    """Workers of one lane."""

    def __init__(self, **options):
        self.lanes = Lanes(EVEN_LOAD)
        self.balance = Balance(**options)
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
        return [donor for donor, _ in self.balance.plans(now, self.lanes)]

    def due(self):
        return self.balance.next_wakeup(self.lanes)


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
    assert scene.due() is None


def test_little_work_is_not_worth_it_until_its_worker_is_stuck():
    scene = Scene()
    donor = scene.worker(2, RECALL_WORTH_SECONDS)
    scene.worker()

    assert scene.donors(100.0) == []
    assert scene.due() == 100.0 + STUCK_SECONDS
    assert scene.donors(100.0 + 2 * STUCK_SECONDS) == [donor]


def test_nothing_is_taken_back_while_something_is_ready():
    scene = Scene()
    scene.worker(3, 0.3)
    scene.worker()
    scene.batch.lane.ready.add(scene.batch, 0, 1)

    assert scene.donors() == []
    assert scene.due() == 101.0


def test_who_has_gone_neither_gives_nor_takes():
    scene = Scene()
    donor, idle = scene.worker(3, 0.3), scene.worker()
    scene.balance.remove(idle)
    assert scene.donors() == []
    scene.note(idle)
    scene.balance.remove(donor)
    assert scene.donors() == []


# ---- the same plan


def test_a_plan_is_carried_out_at_once_and_again_only_after_it_has_come_up_so_often():
    scene = Scene(period_seconds=1.0, trigger_times=3)
    donor = scene.worker(3, 0.3)
    scene.worker()

    assert scene.donors(100.0) == [donor]
    assert scene.donors(100.1) == []  # nobody has fallen idle since, and the period is not over
    assert [scene.donors(100.0 + period) for period in (1, 2, 3, 4, 5, 6)] == [[], [], [donor], [], [], [donor]]


def test_a_plan_comes_up_whenever_somebody_falls_idle():
    scene = Scene(period_seconds=100.0, trigger_times=2)
    donor, idle = scene.worker(3, 0.3), scene.worker()
    assert scene.donors() == [donor]
    found = []
    for _ in range(4):
        idle.outstanding = 1
        scene.note(idle)
        idle.outstanding = 0
        scene.note(idle)
        found += [scene.donors(), scene.donors()]

    assert found == [[], [], [donor], [], [], [], [donor], []]


def test_another_plan_of_the_same_worker_is_new():
    scene = Scene(trigger_times=2)
    donor = scene.worker(3, 0.3)
    scene.worker()
    assert scene.donors() == [donor]

    donor.slices[1].stop = donor.outstanding = 5
    scene.note(donor)

    assert scene.donors() == [donor]


def test_a_plan_that_is_held_back_is_in_the_way_of_no_other():
    scene = Scene()
    heavy, light = scene.worker(9, 0.9), scene.worker(3, 0.3)
    scene.worker()
    assert scene.donors() == [heavy]

    assert scene.donors() == [light]


# ---- nobody idle


def test_at_the_end_of_a_period_the_most_loaded_gives_half_of_what_it_has_more():
    scene = Scene(period_seconds=5.0)
    heavy, _ = scene.worker(11, 1.1), scene.worker(1, 0.1)
    assert scene.donors(100.0) == []
    assert scene.due() == 105.0
    assert scene.donors(104.9) == []

    ((donor, limits),) = scene.balance.plans(105.0, scene.lanes)

    assert donor is heavy
    assert [limit for _, limit in limits] == [6]


@pytest.mark.parametrize("why", ["little", "ready", "draining", "supplied", "alone"])
def test_sometimes_evenness_is_not_worth_it(why):
    scene = Scene()
    scene.worker(11, 0.08 if why == "little" else 1.1)
    other = None if why == "alone" else scene.worker(2 if why == "supplied" else 1, 0.06)
    if why == "ready":
        scene.batch.lane.ready.add(scene.batch, 0, 1)
    elif why == "draining":
        other.draining = True
        scene.note(other)

    assert [scene.donors(100.0 + seconds) for seconds in range(4)] == [[], [], [], []]


def test_without_queued_tasks_nothing_is_looked_at():
    scene = Scene()
    donor = scene.worker(3, 0.3)
    scene.donors()
    assert scene.due() is not None

    donor.outstanding = 1
    scene.note(donor)
    scene.donors()

    assert scene.due() is None
