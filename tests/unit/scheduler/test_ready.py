"""Whose task is next."""

from scaler_scheduler.core.ready import FairClock, ReadyQueue
from scaler_scheduler.core.state import Batch, Client, Function
from tests.unit.scheduler.builders import submission


class Queue:
    """A queue, and batches in it."""

    def __init__(self):
        self.clock = FairClock()
        self.ready = ReadyQueue(self.clock)
        self.orders = 0

    def batch(self, client, tasks=10, priority=0):
        self.orders += 1
        made = Batch(
            client=client,
            submitted=submission(self.orders, tasks, priority=priority),
            function=Function(b"f", "f", b""),
            lane=None,
            order=self.orders,
            starts=[],
            offsets=[],
        )
        self.ready.add(made, 0, tasks)
        return made

    def serve(self, seconds=1.0):
        _, batch = self.ready.first()
        self.ready.take(batch, 1, seconds)
        return batch


def client(name):
    return Client(name.encode(), name)


def test_higher_priority_goes_first_and_then_the_order_of_arrival():
    queue, one = Queue(), client("a")
    low, other, high = queue.batch(one, 1), queue.batch(one, 1), queue.batch(one, 1, priority=1)

    assert [queue.serve() for _ in range(3)] == [high, low, other]
    assert queue.ready.first() is None
    assert queue.ready.tasks == one.ready_tasks == 0


def test_clients_share_by_time_used():
    queue, long, short = Queue(), client("long"), client("short")
    slow, _fast = queue.batch(long, 100), queue.batch(short, 100)
    served = []
    for _ in range(44):
        _, batch = queue.ready.first()
        served.append(batch)
        queue.ready.take(batch, 1, 1.0 if batch is slow else 0.1)

    assert served.count(slow) == 4
    assert abs(long.used_seconds - short.used_seconds) <= 1.0


def test_a_client_that_comes_back_has_saved_nothing():
    queue, busy, idle = Queue(), client("busy"), client("idle")
    queue.batch(busy, 100)
    queue.batch(idle, 1)
    for _ in range(50):
        queue.serve()
    back = queue.batch(idle, 40)
    served = [queue.serve() for _ in range(20)]

    assert 9 <= served.count(back) <= 11


def test_a_client_whose_tasks_were_all_taken_back_has_saved_nothing_either():
    queue, busy, idle = Queue(), client("busy"), client("idle")
    emptied = queue.batch(idle, 5)
    queue.batch(busy, 100)
    queue.ready.remove(emptied, 0, 5)
    for _ in range(50):
        queue.serve()
    back = queue.batch(idle, 40)
    served = [queue.serve() for _ in range(20)]

    assert 9 <= served.count(back) <= 11


def test_a_congested_client_is_passed_over_and_keeps_its_tasks():
    queue, stuck, other = Queue(), client("stuck"), client("other")
    first, second = queue.batch(stuck, 1), queue.batch(other, 1)
    stuck.congested = True

    assert queue.serve() is second
    assert queue.ready.first() is None
    stuck.congested = False
    assert queue.serve() is first


def test_a_congested_client_does_not_keep_lower_priorities_from_going():
    queue, stuck, other = Queue(), client("stuck"), client("other")
    queue.batch(stuck, 1, priority=5)
    low = queue.batch(other, 1)
    stuck.congested = True

    assert queue.serve() is low


def test_what_is_removed_does_not_come():
    queue, one = Queue(), client("a")
    batch, other = queue.batch(one, 4), queue.batch(one, 1)

    assert queue.ready.remove(batch, 1, 3) == [(1, 3)]
    assert queue.ready.remove(batch, 0, 9) == [(0, 1), (3, 4)]
    assert queue.serve() is other
    queue.ready.add(batch, 2, 3)
    assert queue.serve() is batch


def test_only_clients_with_tasks_are_named_and_a_gone_one_is_dropped():
    queue, one, other = Queue(), client("a"), client("b")
    queue.batch(one)
    queue.batch(other)
    assert queue.ready.clients() == [one, other]

    queue.ready.forget(one)
    assert queue.ready.clients() == [other]
