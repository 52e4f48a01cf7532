"""Slots of workers whose tasks wait for tasks of their own."""

import signal

import pytest

from scaler_protocol import messages as m
from scaler_protocol.batch import Status
from scaler_scheduler.core import lending
from scaler_scheduler.core.report import ProcessFigures, make_report
from tests.unit.scheduler.builders import Bench


class Nest:
    """A worker whose task, the first of `tasks`, has submitted `children` tasks and waits for them."""

    def __init__(self, children=1, tasks=1, bench=None, **hello):
        self.bench = Bench() if bench is None else bench
        self.outer = self.bench.client("outer")
        self.worker = self.bench.worker("W", **hello)
        self.host = self.worker.host
        self.parents = self.outer.submit(tasks, "parent")
        self.inner = self.bench.client("inner", inside=self.worker)
        self.children = self.inner.submit(children, "child", priority=1)

    def lent(self):
        """Let the helper come that was asked for."""
        while self.worker.recalls:
            self.worker.give_back()
        return self.bench.helper(self.worker)


def finish(client, worker):
    """Let a task's client go and the task end, as one does that used it in a `with` block."""
    client.leave()
    worker.complete()


def test_a_task_that_waits_for_its_own_lends_its_slot():
    nest = Nest()

    (lend,) = nest.host.lends
    assert (lend.worker_id, lend.incarnation) == ("W", 1)
    assert lend.helper_id.startswith("W+")
    helper = nest.lent()
    assert helper.spans == [("inner", nest.children, 0, 1)]
    helper.complete()
    assert nest.inner.statuses(nest.children) == [Status.VALUE]
    finish(nest.inner, nest.worker)
    assert nest.outer.statuses(nest.parents) == [Status.VALUE]


def test_what_is_queued_behind_a_waiting_task_goes_elsewhere_and_never_into_its_slot():
    nest = Nest(tasks=2)

    assert nest.worker.recalls
    assert not nest.host.lends  # what runs is not known yet
    helper = nest.lent()
    assert nest.worker.spans == [("outer", nest.parents, 0, 1)]
    assert helper.spans == [("inner", nest.children, 0, 1)]
    helper.complete()
    assert not helper.slices  # the second parent is of no higher priority
    other = nest.bench.worker("V")
    assert other.spans == [("outer", nest.parents, 1, 2)]


def test_the_slot_is_not_lent_while_another_worker_has_nothing_to_do():
    bench = Bench()
    outer = bench.client("outer")
    worker = bench.worker("W")
    outer.submit(1, "parent")
    idle = bench.worker("V")
    inner = bench.client("inner", inside=worker)
    inner.submit(1, "child", priority=1)

    assert idle.spans == [("inner", 1, 0, 1)]
    assert not worker.host.lends


def test_without_unfinished_tasks_of_its_own_a_task_lends_nothing():
    nest = Nest(children=1)
    nest.lent().complete()

    low = nest.outer.submit(1, "parent", priority=5)
    assert len(nest.host.lends) == 1
    assert nest.outer.statuses(low) == []
    assert nest.worker.held == 1  # nothing is queued behind a task that may submit more


def test_a_helper_takes_one_slice_at_a_time():
    nest = Nest(children=3)
    helper = nest.lent()

    for done in range(3):
        assert helper.spans == [("inner", nest.children, done, done + 1)]
        helper.complete(seconds=1.0)
    assert not helper.slices


def test_short_tasks_go_to_a_helper_in_slices_too():
    bench = Bench()
    bench.state.durations.add(b"child".ljust(16, b"."), 0.001, 1)
    nest = Nest(children=200, bench=bench)
    helper = nest.lent()

    assert 1 < helper.held <= 50


def test_helpers_of_helpers_go_to_any_depth():
    nest = Nest()
    worker, clients = nest.worker, [nest.inner]
    processors = [worker]
    for depth in range(2, 22):
        helper = nest.lent() if depth == 2 else nest.bench.helper(worker)
        processors.append(helper)
        clients.append(nest.bench.client(f"inner{depth}", inside=helper))
        clients[-1].submit(1, "child", priority=depth)
        worker = helper

    last = nest.bench.helper(worker)
    last.complete()
    for processor, client in zip(reversed(processors), reversed(clients), strict=True):
        finish(client, processor)
    assert nest.bench.state.unfinished_tasks == 0
    assert len(nest.host.lends) == 21
    assert {helper.rpartition("+")[0] for helper in (lend.helper_id for lend in nest.host.lends)} == {"W"}


def test_a_helper_is_used_again():
    nest = Nest(tasks=5)
    helper = nest.lent()
    helper.complete()
    for turn in range(4):
        finish(nest.inner, nest.worker)
        nest.inner = nest.bench.client(f"inner{turn}", inside=nest.worker)
        nest.inner.submit(1, "child", priority=1)
        while nest.worker.recalls:
            nest.worker.give_back()
        assert helper.held == 1
        helper.complete()
    finish(nest.inner, nest.worker)

    assert len(nest.host.lends) == 1
    assert nest.outer.statuses(nest.parents) == [Status.VALUE] * 5


def test_a_helper_that_is_idle_for_long_is_ended():
    nest = Nest()
    helper = nest.lent()
    helper.complete()

    nest.bench.advance(lending.HELPER_IDLE_SECONDS - 1)
    assert nest.host.ended_helpers == []
    nest.bench.advance(2)
    assert nest.host.ended_helpers == [helper.worker_id]

    nest.inner.submit(1, "child", priority=1)  # it takes nothing any more, another comes
    assert not helper.slices
    assert len(nest.host.lends) == 2
    helper.end("planned", 15, hello=False)
    assert nest.bench.helper(nest.worker).held == 1


def test_helpers_whose_lender_is_gone_are_ended_when_they_have_nothing_to_do():
    nest = Nest()
    first = nest.lent()
    client = nest.bench.client("deeper", inside=first)
    client.submit(1, "grandchild", priority=2)
    second = nest.bench.helper(first)
    second.complete()

    first.end(hello=False)
    assert nest.host.ended_helpers == [second.worker_id]


def test_a_helper_that_cannot_start_is_asked_for_again_after_a_pause():
    nest = Nest()
    (lend,) = nest.host.lends
    nest.host.say(m.ProcessEnded(lend.helper_id, 1, "exit", 1, 0, 0, replaced=False, detail="no memory"))

    assert len(nest.host.lends) == 1
    nest.bench.advance(lending.RETRY_SECONDS + 0.1)
    assert len(nest.host.lends) == 2
    assert any("could not start: no memory" in text for text in nest.bench.warnings())


def test_so_many_helpers_as_there_are_tasks_for_them():
    bench = Bench()
    outer = bench.client("outer")
    workers = bench.workers(4)
    outer.submit(4, "parent")
    clients = [bench.client(f"in{n}", inside=worker) for n, worker in enumerate(workers)]

    clients[0].submit(1, "child", priority=1)
    assert len(workers[0].host.lends) == 1
    clients[1].submit(1, "child", priority=1)
    assert len(workers[0].host.lends) == 2


def test_of_several_slots_the_one_with_the_highest_task_is_used():
    bench = Bench()
    outer = bench.client("outer")
    low, high = bench.worker("L", queue_size=1), bench.worker("U", queue_size=1)
    outer.submit(1, "parent", priority=0)
    outer.submit(1, "parent", priority=3)
    of_low, of_high = bench.client("a", inside=low), bench.client("b", inside=high)
    for client, worker, priority in ((of_low, low, 1), (of_high, high, 4)):
        client.submit(1, "child", priority=priority)
        bench.helper(worker)
    below, above = (bench.peers[lend.helper_id.encode()] for lend in low.host.lends)
    above.complete()
    below.complete()
    of_low.submit(1, "child", priority=1)  # keeps the task waiting
    below.complete()
    bench.settles = False
    of_low.submit(1, "child", priority=1)
    of_high.submit(1, "child", priority=4)
    bench.settles = True
    bench.settle()

    assert [client for client, *_ in above.spans] == ["b"]
    assert [client for client, *_ in below.spans] == ["a"]


def test_a_child_behind_a_long_task_moves_into_the_slot_of_its_parent():
    bench = Bench()
    outer = bench.client("outer")
    first, second = bench.worker("W1"), bench.worker("W2")
    outer.submit(2, "parent")
    inner = bench.client("inner", inside=first)
    inner.submit(2, "child", priority=1)  # W2 is not known to be at work for long: it queues one of them
    helper = bench.helper(first)

    bench.advance(0.1)
    for worker in (second, first):
        while worker.recalls:
            worker.give_back()
    while helper.slices:
        helper.complete()
        bench.advance(0.1)
        while second.recalls:
            second.give_back()
    assert inner.statuses(1) == [Status.VALUE] * 2
    assert second.spans == [("outer", 1, 1, 2)]


# ---- ends


def test_when_a_lender_dies_its_own_tasks_are_dropped_at_once_and_it_runs_again():
    nest = Nest(children=2)
    helper = nest.lent()
    nest.worker.end("signal", signal.SIGKILL)

    assert nest.bench.dismissed == [b"inner"]
    assert [end.worker_id for end in nest.host.end_tasks] == [helper.worker_id]
    assert nest.worker.held == 1  # the parent, in the next process
    assert nest.outer.outcomes == {}
    helper.end("cancelled", signal.SIGTERM, hello=False)
    nest.worker.complete()
    assert nest.outer.statuses(nest.parents) == [Status.VALUE]
    assert nest.bench.state.unfinished_tasks == 0


def test_a_suspended_processs_death_fails_its_own_task_only():
    nest = Nest()
    helper = nest.lent()
    nest.worker.end("signal", signal.SIGSEGV)

    assert nest.outer.statuses(nest.parents) == [Status.PROCESSOR_DIED]
    assert helper.spans == [("inner", nest.children, 0, 1)]


def test_a_helper_that_is_killed_costs_its_task_a_retry_and_another_comes():
    nest = Nest()
    nest.lent().end("signal", signal.SIGKILL, hello=False)

    assert len(nest.host.lends) == 2
    helper = nest.bench.helper(nest.worker)
    assert helper.held == 1
    helper.complete()
    assert nest.inner.statuses(nest.children) == [Status.VALUE]


def test_a_helper_that_its_task_ends_fails_the_task():
    nest = Nest()
    nest.lent().end("exit", 3, hello=False)

    assert nest.inner.statuses(nest.children) == [Status.PROCESSOR_DIED]
    assert len(nest.host.lends) == 1


def test_cancelling_a_child_ends_the_helper():
    nest = Nest()
    helper = nest.lent()
    nest.inner.cancel(nest.children)
    helper.give_back()
    (end,) = nest.host.end_tasks
    assert end.worker_id == helper.worker_id
    helper.end("cancelled", signal.SIGTERM, hello=False)

    assert nest.inner.statuses(nest.children) == [Status.CANCELLED]


def test_a_client_in_a_process_that_has_ended_is_sent_away():
    nest = Nest()
    nest.worker.end("signal", signal.SIGKILL)
    nest.worker.incarnation = 1
    nest.bench.client("late", inside=nest.worker)

    assert nest.bench.dismissed == [b"inner", b"late"]


def test_a_client_may_come_before_the_process_it_lives_in():
    bench = Bench()
    host = bench.host()
    worker = bench.worker("W", host)
    worker.leave()
    inner = bench.client("inner", inside=worker)
    worker = bench.worker("W", host)
    bench.client("outer").submit(1, "parent")
    inner.submit(1, "child", priority=1)

    assert bench.helper(worker).spans == [("inner", 1, 0, 1)]


def test_a_process_that_was_given_up_and_goes_on_is_not_handed_what_its_task_waits_for():
    bench = Bench(worker_timeout_seconds=2.0)
    nest = Nest(bench=bench)
    nest.lent().complete()
    nest.host.report(W="stopped")
    bench.advance(3.0)
    nest.worker.slices.clear()  # it runs, and nobody will hear of it
    nest.outer.cancel(nest.parents)
    nest.host.report(W="running")
    late = nest.inner.submit(1, "child", priority=1)

    helper = bench.peers[nest.host.lends[0].helper_id.encode()]
    assert helper.spans == [("inner", late, 0, 1)]
    assert not nest.worker.slices
    helper.complete()
    nest.outer.submit(1, "parent")
    assert nest.worker.held == 1


def test_a_stopped_helper_is_given_up_and_another_comes():
    bench = Bench(worker_timeout_seconds=2.0)
    nest = Nest(bench=bench)
    helper = nest.lent()
    nest.host.report(**{helper.worker_id: "stopped"})
    bench.advance(3.0)

    assert nest.host.ended_helpers == [helper.worker_id]
    assert bench.helper(nest.worker).held == 1


# ---- draining


def test_a_draining_worker_still_lends_its_slot_and_is_empty_only_with_its_helper():
    nest = Nest()
    nest.host.report(W="draining")
    helper = nest.lent()
    assert helper.held == 1
    nest.inner.submit(1, "child", priority=1)
    stranger = nest.outer.submit(1, "other", priority=2)

    helper.complete()
    assert [client for client, *_ in helper.spans] == ["outer"]  # the stranger's: it has no other place
    finish(nest.inner, nest.worker)
    assert nest.host.drained == []
    helper.complete()
    assert nest.host.drained == ["W"]
    assert nest.outer.statuses(stranger) == [Status.VALUE]


def test_a_draining_group_ends_only_when_its_helpers_hold_nothing():
    bench = Bench("allocate=even_load; scaling=vanilla(upper=1,lower=1,cooldown=1)")
    adapter = bench.adapter("N", max_groups=1, groups={"g1": m.GroupReport("g1", "ready", "", [], {})})
    nest = Nest(bench=bench, group="g1")
    helper = nest.lent()
    nest.bench.leave(nest.outer)  # its task is cancelled, the child goes on for now
    nest.worker.slices.clear()
    adapter.set("g1", "ready")

    assert helper.held == 1
    assert adapter.stop == []


# ---- the scheduler is a new one


def test_helpers_greet_a_new_scheduler_before_or_after_their_lenders():
    bench = Bench()
    host = bench.host()
    lender = bench.worker("W", host)
    helper = bench.worker("W+old-1", host, lender=lender, queue_size=1)
    outer = bench.client("outer")
    outer.submit(1, "parent")
    assert not helper.slices
    inner = bench.client("inner", inside=lender)
    inner.submit(1, "child", priority=1)

    assert host.lends == []
    assert helper.held == 1


def test_a_second_helper_of_one_lender_is_ended():
    bench = Bench()
    host = bench.host()
    lender = bench.worker("W", host)
    bench.worker("W+old-1", host, lender=lender)
    bench.worker("W+old-2", host, lender=lender)

    assert host.ended_helpers == ["W+old-2"]


# ---- what helpers are not


def test_helpers_are_no_places_for_the_waiting_limit_and_nested_tasks_are_always_admitted():
    bench = Bench(max_number_of_tasks_waiting=0)
    nest = Nest(bench=bench, queue_size=1, children=30)
    nest.lent()
    refused = nest.outer.submit(1, "parent")

    assert nest.outer.statuses(refused) == [Status.REFUSED]
    assert nest.inner.statuses(nest.children) == []


def test_the_monitor_shows_one_row_with_what_waits():
    nest = Nest(children=2)
    nest.lent()
    (row,) = make_report(nest.bench.state, ProcessFigures(), nest.bench.now).workers

    assert (row.worker_id, row.outstanding, row.suspended, row.queued) == ("W", 2, 1, 0)


def test_a_helper_offers_what_its_lender_offers():
    bench = Bench("allocate=capability; scaling=no")
    nest = Nest(bench=bench, capabilities={"gpu": 1})
    nest.lent().complete()
    wanted = nest.inner.submit(1, "child", priority=1, capabilities={"gpu": 1})
    helper = bench.peers[nest.host.lends[0].helper_id.encode()]
    assert helper.spans == [("inner", wanted, 0, 1)]
    helper.complete()
    elsewhere = nest.inner.submit(1, "child", priority=1, capabilities={"tpu": 1})
    assert nest.inner.statuses(elsewhere) == []
    assert not helper.slices


# ---- stopping processes


def test_a_soft_lender_is_not_stopped():
    nest = Nest()
    nest.lent()
    nest.bench.advance(1.0)

    assert nest.host.suspended == []
    assert nest.bench.vouched == set()


def test_a_lender_is_stopped_while_its_helper_works_and_somebody_answers_for_its_clients():
    nest = Nest(children=2, suspends=True)
    helper = nest.lent()
    assert nest.host.suspended == []
    nest.bench.advance(lending.LOOK_SECONDS)
    assert nest.host.suspended == [("W", True)]
    assert nest.bench.vouched == {b"W", b"inner"}

    helper.complete(seconds=1.0)
    assert nest.host.suspended == [("W", True), ("W", False)]
    assert nest.bench.vouched == set()
    nest.bench.advance(lending.LOOK_SECONDS)  # the second child runs: it is stopped again
    assert nest.host.suspended[2:] == [("W", True)]
    helper.complete()
    assert nest.host.suspended[3:] == [("W", False)]


def test_a_task_too_short_does_not_stop_its_parent():
    nest = Nest(suspends=True)
    helper = nest.lent()
    nest.bench.advance(lending.LOOK_SECONDS / 2)
    helper.complete()
    nest.bench.advance(1.0)

    assert nest.host.suspended == []


def test_a_stopped_task_that_is_cancelled_goes_on_so_that_it_can_be_ended():
    nest = Nest(suspends=True)
    nest.lent()
    nest.bench.advance(1.0)
    nest.outer.cancel(nest.parents)

    assert nest.host.suspended == [("W", True), ("W", False)]
    nest.worker.give_back()
    assert [end.worker_id for end in nest.host.end_tasks] == ["W"]


@pytest.mark.parametrize("how", ["killed", "lost with its host"])
def test_nobody_answers_for_a_stopped_process_that_is_gone(how):
    nest = Nest(suspends=True)
    nest.lent()
    nest.bench.advance(1.0)
    if how == "killed":
        nest.worker.end("signal", signal.SIGKILL, hello=False)
    else:
        nest.host.leave()

    assert b"W" not in nest.bench.vouched
    assert b"inner" not in nest.bench.state.clients


def test_after_a_task_that_waited_others_of_its_function_come_one_at_a_time():
    """What is queued behind a waiting task has to be taken back."""
    bench = Bench()
    bench.state.durations.add(b"parent".ljust(16, b"."), 0.001, 1)
    nest = Nest(tasks=200, bench=bench)
    nest.lent().complete()
    finish(nest.inner, nest.worker)

    for _ in range(lending.WARY_TASKS - 1):
        assert nest.worker.held == 1
        nest.worker.complete()
    assert nest.worker.held > 2  # none of those has waited


def test_others_come_in_slices_all_the_time():
    bench = Bench()
    for name in (b"parent", b"plain"):
        bench.state.durations.add(name.ljust(16, b"."), 0.001, 1)
    nest = Nest(bench=bench)
    nest.lent().complete()
    finish(nest.inner, nest.worker)
    nest.outer.submit(200, "plain")

    assert nest.worker.held > 2
