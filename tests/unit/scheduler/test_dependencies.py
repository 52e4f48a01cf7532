"""Tasks that wait for results: when they become ready, what goes along with them, and how an end reaches them."""

import pytest

from scaler_protocol import messages as m
from scaler_protocol.batch import F64, MADE_HERE, U8, U32, Status, column
from scaler_protocol.errors import ProtocolError
from tests.unit.scheduler.builders import Bench, inputs, learn


def chain(client, length):
    """Submit one batch whose first task waits for nothing and every other for the one before; return its id."""
    number = next(client.batch_ids)
    return client.submit(batch_id=number, needs=[[], *([(number, task)] for task in range(length - 1))])


def assigned(bench):
    return bench.effects.take(m.AssignSlice)


# ---- waiting and becoming ready


def test_a_task_waits_for_the_result_that_it_needs_and_gets_it_with_its_slice():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    first = client.submit(1)
    second = client.submit(needs=[[(first, 0)]])
    (message,) = assigned(bench)
    assert message.batch_id == first
    assert not message.dependency_counts

    worker.complete()

    (message,) = assigned(bench)
    assert (message.batch_id, message.start, message.stop) == (second, 0, 1)
    assert inputs(message) == [[(Status.VALUE, 0, b"0")]]
    assert message.payload.startswith(f"{second}.0;".encode())
    worker.complete()
    assert client.statuses(second) == [Status.VALUE]


def test_a_task_is_ready_with_the_last_of_its_results():
    bench = Bench()
    client, workers = bench.client(), bench.workers(2)
    first = client.submit(2)
    second = client.submit(needs=[[(first, 1), (first, 0), (first, 1)], []])
    bench.effects.take()

    workers[1].complete()
    assert [message.batch_id for message in assigned(bench) if message.start == 0] == []
    workers[0].complete()

    (message,) = [message for message in assigned(bench) if message.batch_id == second and message.start == 0]
    assert inputs(message)[0] == [(Status.VALUE, 0, b"1"), (Status.VALUE, 0, b"0"), (Status.VALUE, 0, b"1")]


def test_tasks_of_one_batch_may_wait_for_those_before_them():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    number = next(client.batch_ids)
    batch = client.submit(batch_id=number, needs=[[], [], [(number, 0), (number, 1)], [(number, 1)]])
    assert [(message.start, message.stop) for message in assigned(bench)] == [(0, 1), (1, 2)]

    worker.complete()
    assert not assigned(bench)
    worker.complete()

    found = {message.start: inputs(message) for message in assigned(bench)}
    assert found == {2: [[(Status.VALUE, 0, b"0"), (Status.VALUE, 0, b"1")]], 3: [[(Status.VALUE, 0, b"1")]]}
    worker.complete_all()
    assert client.statuses(batch) == [Status.VALUE] * 4
    assert not bench.state.busy


# ---- slices that make what they need


def ahead(bench, client, worker, length=6):
    """Have the worker hold a chain as one slice; return its batch."""
    learn(bench, client, worker, 0.001)
    batch = chain(client, length)
    assert [(message.start, message.stop) for message in assigned(bench)] == [(0, length)]
    return batch


def test_a_chain_of_known_duration_is_one_slice_that_makes_what_it_needs():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    learn(bench, client, worker, 0.001)
    batch = chain(client, 200)

    (message,) = assigned(bench)
    assert (message.start, message.stop) == (0, 50)
    assert inputs(message) == [[], *([(MADE_HERE, task, b"")] for task in range(49))]
    assert bench.state.unfinished_tasks == 50
    bench.state.check()

    worker.complete(3)
    assert bench.state.unfinished_tasks == 47
    worker.complete_all()
    assert client.statuses(batch) == [Status.VALUE] * 200
    assert bench.state.unfinished_tasks == 0


def test_only_what_needs_the_task_before_it_goes_along():
    bench = Bench()
    client, workers = bench.client(), bench.workers(2)
    learn(bench, client, workers[0], 0.001)
    number = next(client.batch_ids)
    other = client.submit(1, "g")
    bench.effects.take()
    client.submit(batch_id=number + 2, needs=[[], [(number + 2, 0)], [(number + 2, 0)], [(number + 2, 2), (other, 0)]])

    (message,) = assigned(bench)

    assert (message.start, message.stop) == (0, 2)


def test_what_comes_back_of_such_a_slice_waits_again():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = ahead(bench, client, worker)
    worker.host.report(W="draining")

    worker.give_back()

    assert bench.state.unfinished_tasks == 1
    other = bench.worker("V")
    assert not other.slices
    worker.complete()
    assert [(start, stop) for _, _, start, stop in other.spans] == [(1, 6)]
    other.complete_all()
    assert client.statuses(batch) == [Status.VALUE] * 6


def test_a_lost_slice_begins_where_its_results_end():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = ahead(bench, client, worker)
    worker.complete(2)

    worker.end()

    (message,) = assigned(bench)
    assert (message.start, message.stop) == (2, 6)
    assert inputs(message)[0] == [(Status.VALUE, 0, b"1")]
    worker.complete_all()
    assert client.statuses(batch) == [Status.VALUE] * 6


def test_the_worker_says_of_a_failure_in_the_middle_what_follows_from_it():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = ahead(bench, client, worker)
    outside = client.submit(needs=[[(batch, 3)]])
    worker.complete(2)
    worker.complete(status=Status.EXCEPTION)
    assert (outside, 0) not in client.outcomes

    worker.complete_all()

    assert client.statuses(batch) == [Status.VALUE] * 2 + [Status.EXCEPTION] * 4
    assert client.statuses(outside) == [Status.EXCEPTION]
    assert bench.state.unfinished_tasks == 0


def test_after_a_failure_what_comes_back_ends_likewise():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = ahead(bench, client, worker)
    worker.complete(2)
    worker.complete(status=Status.EXCEPTION)

    worker.end()

    assert client.statuses(batch) == [Status.VALUE] * 2 + [Status.EXCEPTION] * 4
    assert client.texts[batch, 5] == "2"
    assert bench.state.unfinished_tasks == 0


def test_a_process_that_ends_itself_ahead_of_its_results_fails_its_task_alone():
    """What it had not delivered runs again first."""
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = ahead(bench, client, worker)
    slice_id, _ = worker.running()
    worker.slices[slice_id][1] = 3  # the results of what it ran before are lost with it

    worker.end("exit", 3)

    assert client.outcomes == {
        (batch - 1, 0): [Status.VALUE],
        **{(batch, n): [Status.PROCESSOR_DIED] for n in (3, 4, 5)},
    }
    worker.complete_all()
    assert client.statuses(batch) == [Status.VALUE] * 3 + [Status.PROCESSOR_DIED] * 3


def test_cancelling_in_the_middle_of_such_a_slice():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = ahead(bench, client, worker)

    client.cancel(batch, 3, 1)
    assert (batch, 3) not in client.outcomes
    worker.give_back()

    assert client.outcomes[batch, 3] == client.outcomes[batch, 4] == client.outcomes[batch, 5] == [Status.CANCELLED]
    worker.complete_all()
    assert client.statuses(batch) == [Status.VALUE] * 3 + [Status.CANCELLED] * 3


def test_abandoning_such_a_slice():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = ahead(bench, client, worker)
    outside = client.submit(needs=[[(batch, 5)]])

    client.abandon(batch)
    worker.give_back()
    worker.complete_all()

    assert client.statuses(outside) == [Status.CANCELLED]
    assert bench.state.unfinished_tasks == 0


def test_what_is_made_in_a_slice_is_not_asked_back_for_somebody_idle():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    ahead(bench, client, worker, 50)
    bench.worker("V")

    bench.advance(2.0)

    assert not bench.effects.take(m.RecallSlices)


def test_a_result_that_shares_its_run_comes_with_its_position_and_each_run_once():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    learn(bench, client, worker, 0.001)
    first = client.submit(blocks=[4])
    client.submit(needs=[[(first, 2), (first, 0)], [(first, 2)]])
    bench.effects.take()
    slice_id, (assign, start, stop) = next(iter(worker.slices.items()))
    assert (start, stop) == (0, 2)
    for slice_id, (assign, start, stop) in list(worker.slices.items()):
        run = f"run {start}".encode()
        worker.slices.pop(slice_id)
        worker.say(
            m.TaskResults(
                slice_id=slice_id,
                client_id=assign.client_id,
                batch_id=first,
                starts=column(U32, [start]),
                counts=column(U32, [stop - start]),
                statuses=column(U8, [Status.VALUES]),
                sizes=column(U32, [len(run)]),
                durations=column(F64, [0.001]),
                payload=run,
            )
        )

    messages = assigned(bench)

    found = [result for message in messages for results in inputs(message) for result in results]
    assert found == [(Status.VALUES, 0, b"run 2"), (Status.VALUES, 0, b"run 0"), (Status.VALUES, 0, b"run 2")]
    assert all(message.payload.count(b"run 2") == 1 for message in messages)


def test_waiting_tasks_are_neither_ready_nor_counted_for_scaling():
    bench = Bench("allocate=even_load; scaling=vanilla(upper=1)", max_number_of_tasks_waiting=1)
    client, adapter = bench.client(), bench.adapter(max_groups=10)
    first = client.submit(1)
    second = client.submit(needs=[[(first, 0)]] * 20)

    assert len(adapter.wanted) == 1
    assert bench.state.unfinished_tasks == 1
    assert client.outcomes == {}
    third = client.submit(1)
    assert client.statuses(third) == [Status.REFUSED]
    assert bench.state.counts.inactive == 21

    worker = bench.worker()
    worker.complete()
    worker.complete_all()
    assert client.statuses(second) == [Status.VALUE] * 20


def test_large_results_make_short_slices():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    learn(bench, client, worker, 0.0001)
    bench.effects.take()
    first = client.submit(4)
    second = client.submit(needs=[[(first, task)] for task in range(4)])
    payload = bytes(700_000)
    for slice_id, (assign, start, stop) in list(worker.slices.items()):
        for task in range(start, stop):
            one = column(U32, [task])
            worker.say(
                m.TaskResults(
                    slice_id,
                    assign.client_id,
                    first,
                    one,
                    column(U32, [1]),
                    b"\0",
                    column(U32, [700_000]),
                    column(F64, [0.0001]),
                    payload[:-1] + bytes([task]),
                )
            )
        worker.slices.pop(slice_id)

    messages = [message for message in assigned(bench) if message.batch_id == second]

    assert all(message.stop - message.start <= 2 for message in messages)
    worker.complete_all()
    assert client.statuses(second) == [Status.VALUE] * 4


# ---- failures and cancelling reach who waits


@pytest.mark.parametrize("status", [Status.EXCEPTION, Status.CANCELLED, Status.TOO_LARGE, Status.EXITED])
def test_the_end_of_a_task_is_the_end_of_all_that_wait_for_it(status):
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    first = client.submit(1)
    second = client.submit(needs=[[(first, 0)], [], [(first, 0)]])
    third = client.submit(needs=[[(second, 0), (second, 1)]])

    worker.complete(status=status)

    assert client.outcomes[first, 0] == [status]
    assert client.outcomes[second, 0] == client.outcomes[second, 2] == client.outcomes[third, 0] == [status]
    assert client.texts[third, 0] == client.texts[first, 0] == "0"
    worker.complete_all()
    assert client.statuses(second) == [status, Status.VALUE, status]
    assert bench.state.unfinished_tasks == 0


def test_the_end_of_a_process_reaches_who_waits():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = chain(client, 3)

    worker.end("exit", 3)

    assert client.statuses(batch) == [Status.PROCESSOR_DIED] * 3
    assert client.texts[batch, 2] == "exit_code=3\nit ended"


def test_a_task_beyond_the_retry_limit_ends_who_waits():
    bench = Bench(task_retry_limit=1)
    client, worker = bench.client(), bench.worker()
    batch = chain(client, 2)

    worker.end()
    assert client.outcomes == {}
    worker.end()

    assert client.statuses(batch) == [Status.WORKER_DIED] * 2


def test_a_chain_of_ten_thousand_fails_at_once():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = chain(client, 10_000)
    bench.effects.take()

    worker.complete(status=Status.EXCEPTION)

    assert client.statuses(batch) == [Status.EXCEPTION] * 10_000
    assert bench.effects.kinds()["TaskResults"] == 2


def test_a_waiting_task_is_cancelled_at_once_with_what_waits_for_it():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = chain(client, 5)
    bench.effects.take()

    client.cancel(batch, 2, 1)

    assert client.outcomes == {(batch, task): [Status.CANCELLED] for task in (2, 3, 4)}
    assert bench.state.counts.canceled == 3
    assert bench.state.counts.canceled_not_found == 0
    worker.complete_all()
    assert client.statuses(batch) == [Status.VALUE] * 2 + [Status.CANCELLED] * 3


def test_all_of_a_batch_is_cancelled_waiting_or_not():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = chain(client, 5)

    client.cancel(batch, 0, 5)
    assert client.outcomes == {(batch, task): [Status.CANCELLED] for task in (1, 2, 3, 4)}
    worker.give_back(begun=False)

    assert client.statuses(batch) == [Status.CANCELLED] * 5


def test_a_running_task_that_is_cancelled_takes_along_what_waits():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    first = client.submit(1)
    second = client.submit(needs=[[(first, 0)]])
    client.cancel(first)
    worker.give_back()

    assert client.outcomes == {}
    worker.end("cancelled", 15)

    assert client.statuses(first) == client.statuses(second) == [Status.CANCELLED]


def test_the_result_may_win_against_the_cancel_and_is_passed_on():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    first = client.submit(1)
    second = client.submit(needs=[[(first, 0)]])
    client.cancel(first)

    worker.complete_all()

    assert client.statuses(first) == client.statuses(second) == [Status.VALUE]


def test_an_abandoned_batch_cancels_those_of_others_that_wait_for_it():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    first = chain(client, 3)
    second = client.submit(needs=[[(first, 0)], []])

    client.abandon(first)

    assert client.outcomes == {(second, 0): [Status.CANCELLED]}
    worker.give_back()
    worker.complete_all()
    assert client.statuses(second) == [Status.CANCELLED, Status.VALUE]
    assert (first, 0) not in client.outcomes


def test_abandoning_who_waits_leaves_the_others_alone():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    first = client.submit(1)
    second, third = client.submit(needs=[[(first, 0)]]), client.submit(needs=[[(first, 0)]])

    client.abandon(second)
    worker.complete_all()

    assert client.statuses(third) == [Status.VALUE]
    assert (second, 0) not in client.outcomes


def test_a_client_that_leaves_takes_its_waiting_tasks_along_in_silence():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    first = chain(client, 3)
    client.submit(needs=[[(first, 2)]])
    bench.effects.take()

    client.leave()

    assert not bench.effects.take(m.TaskResults)
    assert bench.state.counts.canceled == 4
    worker.give_back()
    assert bench.state.unfinished_tasks == 0


# ---- losses


def test_a_task_that_runs_again_gets_its_results_again():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    first = client.submit(1)
    second = client.submit(needs=[[(first, 0)]])
    worker.complete()
    bench.effects.take()

    worker.end()

    (message,) = assigned(bench)
    assert message.batch_id == second
    assert inputs(message) == [[(Status.VALUE, 0, b"0")]]


def test_a_recalled_task_keeps_its_results():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    learn(bench, client, worker, 0.001)
    first = client.submit(2)
    client.submit(needs=[[(first, 0), (first, 1)]] * 4)
    while any(assign.batch_id == first for assign, _, _ in worker.slices.values()):
        worker.complete()
    bench.effects.take()

    worker.host.report(W="draining")
    worker.give_back()
    other = bench.worker("V")

    other.complete_all()
    worker.complete_all()
    messages = assigned(bench)
    assert messages
    assert all(
        results == [(Status.VALUE, 0, b"0"), (Status.VALUE, 0, b"1")] for m_ in messages for results in inputs(m_)
    )


def test_results_are_kept_no_longer_than_somebody_needs_them():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    first = client.submit(1)
    second = client.submit(needs=[[(first, 0)], [(first, 0)]])
    worker.complete()
    links = bench.state.clients[client.peer].batches[second].links
    worker.complete()
    assert links.edges[0] is None
    assert links.edges[1].run == b"0"

    worker.complete()
    assert links.edges == [None, None]


# ---- results that are over


def test_a_result_that_has_just_been_sent_is_passed_on():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    first = client.submit(2)
    client.submit(needs=[[(first, 0)]])  # from now on outcomes are remembered for a moment
    worker.complete()

    late = client.submit(needs=[[(first, 0), (first, 1)], [(first, 0)]])
    worker.complete_all()

    assert client.statuses(late) == [Status.VALUE] * 2


def test_a_failure_that_has_just_been_sent_is_passed_on():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    first = client.submit(2)
    client.submit(needs=[[(first, 0)]])
    worker.complete(status=Status.EXCEPTION)

    number = next(client.batch_ids)
    client.submit(batch_id=number, needs=[[(first, 0)], [(first, 1)], [(number, 0), (number, 1)], []])

    assert client.outcomes[number, 0] == client.outcomes[number, 2] == [Status.EXCEPTION]
    assert client.texts[number, 2] == "0"
    worker.complete_all()
    assert client.statuses(number) == [Status.EXCEPTION, Status.VALUE, Status.EXCEPTION, Status.VALUE]


def test_a_batch_that_waits_for_what_is_over_is_given_back_as_a_whole():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    first = client.submit(2)
    worker.complete()
    bench.effects.take()

    second = client.submit(needs=[[(first, 1)], [(first, 0)], []])

    assert client.statuses(second) == [Status.DEPENDENCY_OVER] * 3
    assert len(bench.effects.take(m.TaskResults)) == 1
    assert second not in bench.state.clients[client.peer].batches
    client.outcomes.clear()
    client.submit(batch_id=second, needs=[[(first, 1)], [], []])
    worker.complete_all()
    assert client.statuses(second) == [Status.VALUE] * 3


@pytest.mark.parametrize("first", [7, 8])
def test_a_batch_that_nobody_knows_is_over(first):
    bench = Bench()
    client = bench.client()

    batch = client.submit(batch_id=9, needs=[[(first, 0)]])

    assert client.statuses(batch) == [Status.DEPENDENCY_OVER]


def test_tasks_that_a_scheduler_before_has_finished_wait_for_nothing():
    bench = Bench()
    client, worker = bench.client(), bench.worker()

    batch = client.submit(batch_id=9, needs=[[(3, 0)], [], [(9, 1)]], finished=[0, 1])
    worker.complete_all()

    assert sorted(client.outcomes) == [(batch, 1), (batch, 2)]


def test_other_clients_know_nothing_of_a_batch():
    bench = Bench()
    owner, stranger = bench.client("A"), bench.client("B")
    first = owner.submit(1)

    batch = stranger.submit(batch_id=5, needs=[[(first, 0)]])

    assert stranger.statuses(batch) == [Status.DEPENDENCY_OVER]


# ---- what no honest client says


@pytest.mark.parametrize(
    "needs",
    [
        [[(2, 0)]],  # itself
        [[], [(2, 2)], []],  # a later task
        [[(3, 0)]],  # a later batch
        [[(1, 5)]],  # no task of the batch
        [[(1, 0)], [(1, 4_000_000_000)]],
    ],
)
def test_edges_that_lead_nowhere_change_nothing(needs):
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    first = client.submit(5)
    bench.effects.take()

    with pytest.raises(ProtocolError):
        client.submit(batch_id=2, needs=needs)

    bench.state.check()
    assert list(bench.state.clients[client.peer].batches) == [first]
    assert not bench.effects.take(m.TaskResults)
    worker.complete_all()
    assert client.statuses(first) == [Status.VALUE] * 5


def test_a_worker_cannot_say_that_a_dependency_is_over():
    bench = Bench()
    client, worker = bench.client(), bench.worker()
    batch = client.submit(1)

    with pytest.raises(ProtocolError):
        worker.complete(status=Status.DEPENDENCY_OVER)

    assert client.outcomes == {}
    assert bench.state.clients[client.peer].batches[batch].unfinished == 1


# ---- the waiting limit and graphs


def test_beyond_the_waiting_limit_only_ready_tasks_are_refused_and_those_that_wait_for_them():
    bench = Bench(max_number_of_tasks_waiting=2)
    client = bench.client()
    number = next(client.batch_ids)

    client.submit(batch_id=number, needs=[[], [], [], [(number, 0)], [], [(number, 2)], [(number, 1)]])

    refused = {task for (_, task), outcomes in client.outcomes.items() if outcomes == [Status.REFUSED]}
    assert refused == {2, 4, 5}
    assert bench.state.counts.inactive == 5
    bench.worker().complete_all()
    assert client.statuses(number) == [Status.REFUSED if task in refused else Status.VALUE for task in range(7)]


def test_a_graph_is_accepted_as_a_whole():
    bench = Bench(max_number_of_tasks_waiting=3)
    client, worker = bench.client(), None
    first = client.submit(2, graph=1, graph_ready=3)
    client.submit(1, "g")
    second = client.submit(function="h", needs=[[(first, 0)], [], [(first, 1)]], graph=1, graph_ready=3)

    assert client.outcomes == {}
    assert client.statuses(client.submit(1)) == [Status.REFUSED]
    worker = bench.worker()
    worker.complete_all()
    assert client.statuses(first) == [Status.VALUE] * 2
    assert client.statuses(second) == [Status.VALUE] * 3


def test_a_graph_is_refused_as_a_whole():
    bench = Bench(max_number_of_tasks_waiting=3)
    client = bench.client()
    client.submit(1)
    bench.effects.take()

    first = client.submit(2, graph=1, graph_ready=3)
    second = client.submit(needs=[[(first, 0)]], graph=1, graph_ready=3)
    third = client.submit(2, graph=2, graph_ready=2)

    assert client.statuses(first) == [Status.REFUSED] * 2
    assert client.statuses(second) == [Status.REFUSED]
    assert "max_number_of_tasks_waiting" in client.texts[second, 0]
    assert (third, 0) not in client.outcomes


def test_graphs_inside_tasks_are_always_accepted():
    bench = Bench(max_number_of_tasks_waiting=0)
    client = bench.client()

    client.submit(5, graph=1, graph_ready=5, priority=1)

    assert client.outcomes == {}


def test_what_is_remembered_of_graphs_is_bounded():
    bench = Bench(max_number_of_tasks_waiting=0)
    client = bench.client()

    for graph in range(1, 1200):
        client.submit(1, graph=graph, graph_ready=1)

    assert len(bench.state.clients[client.peer].graphs) == 1000
