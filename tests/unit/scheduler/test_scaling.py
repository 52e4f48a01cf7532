"""When the policy is asked, and what follows."""

import pytest

from scaler_protocol import messages as m
from tests.unit.scheduler.builders import Bench

RATIO = "allocate=even_load; scaling=vanilla(upper=1,cooldown=5)"


class Stack:
    """A client, and an adapter whose groups have one worker each as soon as they are wanted."""

    def __init__(self, policy=RATIO, **profile):
        self.bench = Bench(policy, settling_seconds=profile.pop("settling_seconds", 0.0))
        self.client = self.bench.client()
        self.adapter = self.bench.adapter(**profile)
        self.workers = {}

    def obey(self):
        self.adapter.obey()
        for group_id in self.adapter.wanted:
            if group_id not in self.workers:
                self.workers[group_id] = self.bench.worker(f"W-{group_id}", group=group_id)
        for group_id in self.adapter.stop:
            if group_id in self.workers:
                self.workers.pop(group_id).end("planned", 0, hello=False)
        for worker in self.workers.values():
            while worker.recalls:
                worker.give_back()

    def work(self):
        """Finish everything."""
        while any(worker.slices for worker in self.workers.values()):
            for worker in list(self.workers.values()):
                worker.complete_all()


# ---- growth


def test_growth_stops_at_the_capacity():
    stack = Stack(max_groups=3)
    stack.client.submit(50)
    stack.obey()
    stack.bench.advance(1.0)

    assert len(stack.adapter.wanted) == 3


def test_an_adapter_without_limit_gets_what_is_wanted():
    stack = Stack(max_groups=-1)
    stack.client.submit(500)

    assert len(stack.adapter.wanted) == 500


def test_an_adapter_of_capacity_nought_is_never_asked():
    stack = Stack(max_groups=0)
    stack.client.submit(50)
    stack.bench.advance(60.0)

    assert stack.adapter.commands == []
    assert b"N" in stack.bench.state.adapters


def test_the_groups_of_an_adapter_of_capacity_nought_count_as_workers_and_are_never_released():
    groups = {f"own-{n}": m.GroupReport(f"own-{n}", "ready", "", [], {}) for n in range(2)}
    stack = Stack(max_groups=0, groups=groups)
    elastic = stack.bench.adapter("E")
    workers = [stack.bench.worker(f"W{n}", group=f"own-{n}") for n in range(2)]
    stack.client.submit(3)
    stack.bench.advance(0.1)
    assert len(elastic.wanted) == 1

    for worker in workers:
        worker.complete_all()
    stack.bench.advance(60.0)

    assert elastic.stop == ["g-1"]
    assert stack.adapter.commands == []
    assert not any(stack.bench.state.workers[worker.worker_id].draining for worker in workers)


def test_groups_of_several_workers_count_as_such():
    stack = Stack(workers_per_group=4, max_groups=10)
    stack.client.submit(9)

    assert len(stack.adapter.wanted) == 3


def test_groups_on_their_way_are_not_asked_for_again():
    stack = Stack(max_groups=10)
    stack.client.submit(3)
    for _ in range(10):
        stack.bench.advance(0.1)
        stack.bench.settle()

    assert len(stack.adapter.commands) == 1


def test_workers_of_others_count():
    stack = Stack()
    stack.bench.worker("other")
    stack.client.submit(3)

    assert len(stack.adapter.wanted) == 2


def test_decisions_are_made_at_once_for_the_first_tasks_and_then_in_a_rhythm():
    stack = Stack(max_groups=-1)
    stack.client.submit(1)
    assert len(stack.adapter.wanted) == 1
    stack.client.submit(1)
    assert len(stack.adapter.wanted) == 1
    stack.client.submit(8)
    assert len(stack.adapter.wanted) == 10
    stack.client.submit(1)
    assert len(stack.adapter.wanted) == 10

    stack.bench.advance(0.1)

    assert len(stack.adapter.wanted) == 11


def test_two_adapters_share_growth_and_a_full_one_leaves_it_to_the_other():
    bench = Bench(RATIO)
    client = bench.client()
    small, big = bench.adapter("S", max_groups=2), bench.adapter("B", max_groups=10)
    client.submit(3)
    bench.advance(0.1)
    assert (len(small.wanted), len(big.wanted)) == (2, 1)

    client.submit(7)
    bench.advance(0.1)
    assert (len(small.wanted), len(big.wanted)) == (2, 8)


def test_only_adapters_able_to_are_asked_for_capabilities():
    bench = Bench("allocate=capability; scaling=capability(upper=1)")
    client = bench.client()
    plain, gpu = bench.adapter("P"), bench.adapter("G", capabilities={"gpu": 2})
    client.submit(2, capabilities={"gpu": 1})
    assert (plain.commands, len(gpu.wanted)) == ([], 2)

    client.submit(1, capabilities={"tpu": 1})
    bench.advance(1.0)
    assert (plain.commands, len(gpu.wanted)) == ([], 2)


# ---- release


def test_a_surplus_is_released_once_it_has_lasted():
    stack = Stack()
    stack.client.submit(3)
    stack.obey()
    stack.bench.advance(1.0)
    stack.work()
    stack.bench.advance(4.9)
    assert stack.adapter.stop == []

    stack.bench.advance(0.2)
    stack.obey()
    stack.bench.advance(0.1)

    assert (stack.adapter.wanted, stack.adapter.groups) == ([], {})
    assert stack.bench.state.workers == {}
    assert stack.bench.core.next_wakeup() is None


def test_a_surplus_that_passes_releases_nothing():
    stack = Stack()
    stack.client.submit(3)
    stack.obey()
    for _ in range(10):
        stack.work()
        stack.bench.advance(4.0)
        stack.client.submit(3)
        stack.bench.advance(0.1)

    assert [(len(command.groups), command.stop) for command in stack.adapter.commands] == [(3, [])] * 2


def test_only_what_has_been_too_much_all_the_time_is_released():
    stack = Stack()
    stack.client.submit(4)
    stack.obey()
    stack.bench.advance(0.1)
    stack.work()
    stack.bench.advance(2.0)
    stack.client.submit(3)
    stack.bench.advance(1.0)
    stack.work()
    stack.bench.advance(2.5)

    assert len(stack.adapter.stop) == 1


def test_the_emptiest_groups_go_first():
    stack = Stack("allocate=even_load; scaling=vanilla(upper=1,lower=1,cooldown=5)")
    stack.client.submit(3)
    stack.obey()
    busy = next(worker for worker in stack.workers.values() if worker.slices)
    for worker in stack.workers.values():
        if worker is not busy:
            worker.complete_all()
    stack.bench.advance(6.0)

    assert stack.adapter.wanted == [busy.group]


def test_groups_on_their_way_up_go_before_idle_ones():
    stack = Stack("allocate=even_load; scaling=vanilla(upper=1,lower=1,cooldown=5)")
    stack.client.submit(1)
    stack.obey()
    stack.client.submit(2)
    stack.bench.advance(0.1)
    stack.adapter.obey("pending")
    stack.client.cancel(2, 0, 2)
    stack.work()
    stack.client.submit(1)
    assert stack.adapter.wanted == ["g-1", "g-2", "g-3"]

    stack.bench.advance(6.0)

    assert stack.adapter.wanted == ["g-1"]


def test_a_group_is_never_split():
    stack = Stack(workers_per_group=4, max_groups=10)
    stack.client.submit(4)
    stack.adapter.obey()
    workers = [stack.bench.worker(f"W{n}", group="g-1") for n in range(4)]
    workers[0].complete_all()
    stack.bench.advance(60.0)

    assert stack.adapter.wanted == ["g-1"]
    assert not any(stack.bench.state.workers[worker.worker_id].draining for worker in workers)


def test_a_part_of_a_surplus_too_small_for_a_group_does_not_keep_the_whole_from_going():
    stack = Stack("allocate=even_load; scaling=vanilla(upper=2,lower=1,cooldown=2)", workers_per_group=2)
    stack.client.submit(1)
    stack.adapter.obey()
    worker = stack.bench.worker("W1", group="g-1")
    stack.bench.worker("W2", group="g-1")
    stack.bench.advance(30.0)
    assert stack.adapter.stop == []

    worker.complete()
    stack.bench.advance(1.9)
    assert stack.adapter.stop == []
    stack.bench.advance(0.2)
    assert stack.adapter.stop == ["g-1"]


def test_back_from_zero():
    stack = Stack()
    for round_ in range(3):
        stack.client.submit(2)
        stack.bench.advance(0.1)
        assert len(stack.adapter.wanted) == 2
        stack.obey()
        stack.work()
        stack.bench.advance(6.0)
        stack.obey()
        assert (stack.adapter.wanted, stack.adapter.groups) == ([], {}), round_


def test_what_is_leaving_takes_its_place_until_it_has_gone():
    stack = Stack(max_groups=2)
    stack.client.submit(2)
    stack.obey()
    stack.work()
    stack.bench.advance(6.0)
    assert len(stack.adapter.stop) == 2

    stack.client.submit(2)
    stack.bench.advance(1.0)
    assert stack.adapter.wanted == []
    stack.obey()
    stack.bench.advance(1.0)
    assert stack.adapter.wanted == ["g-3", "g-4"]


@pytest.mark.parametrize("extra", [1, 2, 3])
def test_more_leaving_than_the_capacity_is_not_no_limit(extra):
    bench = Bench(RATIO)
    client = bench.client()
    groups = {f"old-{n}": m.GroupReport(f"old-{n}", "stopping", "", [], {}) for n in range(2 + extra)}
    adapter = bench.adapter(max_groups=2, groups=groups)

    client.submit(50)
    bench.advance(1.0)

    assert adapter.wanted == []


def test_a_new_scheduler_releases_nothing_before_all_have_had_time_to_come_back():
    bench = Bench(RATIO, settling_seconds=10.0)
    adapter = bench.adapter(groups={"old": m.GroupReport("old", "ready", "", [], {})})
    bench.advance(9.9)
    assert adapter.commands == []

    bench.advance(0.2)
    assert adapter.stop == ["old"]


def test_with_no_cooldown_a_surplus_goes_at_once():
    stack = Stack("allocate=even_load; scaling=vanilla(upper=1,cooldown=0)")
    stack.client.submit(1)
    stack.obey()
    stack.bench.advance(0.1)
    stack.work()
    stack.bench.advance(0.1)

    assert stack.adapter.stop == ["g-1"]


# ---- time does not run hot


@pytest.mark.parametrize("moment", [0.0, 0.01, 1.0])
def test_nothing_is_wanted_of_time_when_the_last_adapter_has_gone(moment):
    stack = Stack()
    stack.client.submit(2)
    stack.obey()
    stack.work()
    stack.bench.settle()
    stack.bench.advance(moment)

    stack.adapter.leave("silent for 10 seconds")
    stack.bench.advance(60.0)

    assert stack.bench.core.next_wakeup() is None


def test_a_surplus_that_nobody_can_release_wakes_nobody_all_the_time():
    stack = Stack(workers_per_group=4)
    stack.client.submit(1)
    stack.obey()
    stack.bench.advance(60.0)

    due = stack.bench.core.next_wakeup()
    assert due is None or due - stack.bench.now > 1.0


# ---- scaling=no


def test_without_scaling_no_command_is_ever_sent():
    stack = Stack("allocate=even_load; scaling=no")
    stack.client.submit(50)
    stack.adapter.groups = {"own": m.GroupReport("own", "ready", "", [], {})}
    stack.adapter.report()
    stack.adapter.set("own", "failed", "broken")
    stack.bench.advance(60.0)

    assert stack.adapter.commands == []


# ---- other policies, end to end


def test_backlog_wants_ten_workers_for_ten_long_tasks_and_one_for_thousands_of_short_ones():
    stack = Stack("allocate=even_load; scaling=backlog(target=1)", max_groups=100)
    stack.client.submit(10, "long")
    stack.bench.advance(0.1)
    assert len(stack.adapter.wanted) == 10
    stack.client.cancel(1, 0, 10)
    stack.client.submit(1, "short")
    stack.bench.advance(6.0)
    stack.obey()
    stack.bench.advance(0.1)
    assert len(stack.adapter.wanted) == 1
    next(iter(stack.workers.values())).complete(seconds=0.0001)

    stack.client.submit(4000, "short")
    stack.bench.advance(10.0)

    assert len(stack.adapter.wanted) == 1


def test_each_part_of_a_surplus_is_released_when_it_has_lasted_however_gradually_it_came():
    stack = Stack("allocate=even_load; scaling=vanilla(upper=1,lower=1,cooldown=5)", max_groups=10)
    stack.client.submit(6)
    stack.obey()
    released = []
    for index, worker in enumerate(stack.workers.values()):
        stack.bench.advance(1.0)
        worker.complete()
        released.append(stack.bench.now + 5.0)
        assert not stack.adapter.stop or index == 5
    for expected in released:
        stack.bench.advance(expected + 0.1 - stack.bench.now)
        stack.adapter.obey()

    assert stack.adapter.groups == {}


def test_a_primary_adapter_keeps_its_group_and_the_others_come_and_go():
    bench = Bench("allocate=even_load; scaling=fixed_elastic(upper=1,cooldown=5)")
    client = bench.client()
    primary, secondary = bench.adapter("P", max_groups=1), bench.adapter("S", max_groups=10)
    assert (len(primary.wanted), secondary.commands) == (1, [])
    primary.obey()

    client.submit(4)
    bench.advance(0.1)
    assert len(secondary.wanted) == 3
    secondary.obey()
    client.cancel(1, 0, 4)
    bench.advance(6.0)

    assert (len(primary.wanted), primary.stop) == (1, [])
    assert len(secondary.stop) == 3


# ---- groups that drain are taken back


def draining(**profile):
    """Return a stack of two groups, one of which drains and still runs a task; the other is idle or gone."""
    stack = Stack("allocate=even_load; scaling=vanilla(upper=1,lower=1,cooldown=1)", max_groups=2, **profile)
    stack.client.submit(1)
    stack.client.submit(1)
    stack.bench.advance(0.1)
    stack.obey()
    one, other = stack.workers.values()
    adapter = stack.bench.state.adapters[b"N"]
    for worker in (one, other):
        stack.bench.core._adapters.drain(adapter, adapter.groups[worker.group], "for the test")
    return stack, one, other


def test_a_group_that_still_drains_goes_on_when_there_is_more_to_do():
    stack, one, other = draining()
    stack.bench.advance(1.0)
    assert {len(stack.adapter.wanted), len(stack.workers)} == {2}  # two tasks want two workers: both go on
    assert not any(stack.bench.state.workers[worker.worker_id].draining for worker in (one, other))

    stack.client.submit(2)
    stack.bench.advance(0.1)

    assert one.held + other.held == 4
    assert stack.adapter.wanted == ["g-1", "g-2"]
    assert any("goes on instead of draining" in text for _, text in stack.bench.logs)


def test_a_group_that_was_taken_back_is_not_stopped_when_it_has_nothing_to_do_for_a_moment():
    stack, one, other = draining()
    stack.bench.advance(0.1)
    one.complete()
    other.complete()
    stack.bench.advance(0.5)

    assert stack.adapter.stop == []


def test_a_group_that_is_being_stopped_does_not_come_back():
    stack = Stack(max_groups=1)
    stack.client.submit(1)
    stack.obey()
    stack.work()
    stack.bench.advance(6.0)
    assert stack.adapter.stop == ["g-1"]

    stack.client.submit(1)
    stack.bench.advance(1.0)

    assert (stack.adapter.wanted, stack.adapter.stop) == ([], ["g-1"])


def test_a_draining_group_that_its_adapter_ends_does_not_come_back():
    stack, one, _other = draining()
    stack.adapter.set(one.group, "stopping", "its machine goes down")
    stack.client.submit(2)
    stack.bench.advance(1.0)

    assert stack.bench.state.workers[one.worker_id].draining
    assert one.group in {group.group_id for group in stack.bench.state.adapters[b"N"].groups.values() if group.stopping}


def test_a_worker_whose_host_ends_is_not_taken_back_with_its_group():
    stack, one, _other = draining(workers_per_group=1)
    one.host.report(**{one.worker_id: "draining"})
    stack.client.submit(2)
    stack.bench.advance(1.0)

    assert stack.bench.state.workers[one.worker_id].draining
