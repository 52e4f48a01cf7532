"""Calls that wait for results of others, as the client's side of the conversation sees them."""

import pytest

from scaler_client.batches import Batch, GraphTerms
from scaler_client.completion import complete, fail
from scaler_client.core import ClientCore
from scaler_client.exceptions import MissingObjects
from scaler_client.future import NO_PROFILE, ScalerFuture, Ticket
from scaler_client.linked import InlineLink, StoredLink, read_linked
from scaler_client.linking import Linker
from scaler_client.packing import pack_shared
from scaler_client.serializer import DefaultSerializer, dump_failure, dump_result
from scaler_client.stored import whole_parts
from scaler_protocol import messages as m
from scaler_protocol.batch import U32, U64, Encoding, Status, numbers, pack_stored
from tests.unit.client.shelf import Shelf
from tests.unit.client.test_core import FUNCTION, OTHER, Outcomes, batch, names, results, taken, up, values

DEFAULT = DefaultSerializer()


class Owner:
    client_id = b"c" * 16


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def core(shelf):
    core = ClientCore(10, shelf)
    core.on_up(up())
    return core


def future(batch_id, index=0):
    return ScalerFuture(Ticket(Owner(), batch_id), index)


def waiting(batch_id, *calls, function=FUNCTION):
    """A batch; each call is its arguments."""
    linker = Linker(DEFAULT, Shelf())
    packed = pack_shared(Encoding.LINKED, [linker.dump(call, {}) for call in calls])
    return Batch(batch_id, function, packed, DEFAULT, Outcomes())


def edges(message):
    return list(zip(numbers(U64, message.dependency_batches), numbers(U32, message.dependency_tasks), strict=True))


def links(message, task=0):
    position = sum(numbers(U32, message.block_sizes)[:task])
    size = numbers(U32, message.block_sizes)[task]
    return [link for _, link in read_linked(message.payload[position : position + size]).links]


def over(batch_id, count=1):
    return results(batch_id, (0, count, Status.DEPENDENCY_OVER, b""))


def value(index, result):
    return index, 1, Status.VALUE, dump_result(result, DEFAULT)


def test_a_call_names_the_task_that_it_waits_for(core):
    core.submit(batch(1, 3), 0)
    core.submit(waiting(2, (future(1, 2),), (future(1, 0), future(2, 0))), 0)

    *_, message = taken(core)

    assert message.encoding == Encoding.LINKED
    assert list(numbers(U32, message.dependency_counts)) == [1, 2]
    assert edges(message) == [(1, 2), (1, 0), (2, 0)]
    core.check()


def test_a_result_that_came_before_the_batch_is_sent_goes_along():
    core = ClientCore(10, Shelf())
    core.on_up(up(tasks=2))
    core.submit(batch(1, 2), 0)
    second = waiting(2, (future(1, 0),), (future(1, 1),))
    core.submit(second, 0)
    assert names(taken(core)) == ["DefineFunction", "SubmitBatch"]

    core.on_results(results(1, values(0, "first", "second")))

    (message,) = taken(core)
    assert not message.dependency_counts
    assert links(message) == [InlineLink(dump_result("first", DEFAULT))]
    core.check()


def test_a_batch_that_came_too_late_is_sent_again_with_what_is_there(core):
    core.submit(batch(1, 2), 0)
    second = waiting(2, (future(1, 0), future(1, 1)), (1, future(1, 0)))
    core.submit(second, 0)
    taken(core)

    core.on_results(results(1, value(0, "first")))
    assert core.messages == []
    core.on_results(over(2, 2))

    (message,) = taken(core)
    assert message.batch_id == 2
    assert list(numbers(U32, message.dependency_counts)) == [1, 0]
    assert edges(message) == [(1, 1)]
    assert links(message, 1) == [InlineLink(dump_result("first", DEFAULT))]
    assert second.receiver.of == {}
    core.check()
    core.on_results(results(2, value(0, "a"), value(1, "b")))
    assert second.receiver.of == {0: "a", 1: "b"}


def test_a_batch_that_came_too_late_to_learn_of_a_failure_fails_here(core):
    core.submit(batch(1, 2), 0)
    second = waiting(2, (future(1, 0),), (future(2, 0),), (future(1, 1),))
    core.submit(second, 0)
    taken(core)

    core.on_results(results(1, (0, 1, Status.EXCEPTION, dump_failure(KeyError("k")))))
    core.on_results(over(2, 3))

    assert {index: type(outcome) for index, outcome in second.receiver.of.items()} == {0: KeyError, 1: KeyError}
    (message,) = taken(core)
    assert list(numbers(U32, message.finished)) == [0, 2]
    assert edges(message) == [(1, 1)]
    core.check()


def test_a_batch_of_which_nothing_is_left_is_not_sent_again(core):
    core.submit(batch(1, 1), 0)
    second = waiting(2, (future(1, 0),))
    core.submit(second, 0)
    taken(core)

    core.on_results(results(1, (0, 1, Status.CANCELLED, b"")))
    core.on_results(over(2))

    assert second.receiver.of == {0: "cancelled"}
    assert "SubmitBatch" not in names(taken(core))
    assert core.is_idle
    core.check()


def test_batches_that_came_too_late_go_in_order(core):
    core.submit(batch(1, 1), 0)
    core.submit(waiting(2, (future(1, 0),)), 0)
    core.submit(waiting(3, (future(2, 0),)), 0)
    taken(core)

    core.on_results(results(1, value(0, "first")))
    core.on_results(over(2))
    core.on_results(over(3))

    assert [message.batch_id for message in taken(core)] == [2, 3]
    core.check()


def test_results_that_go_along_count_for_the_credit():
    core = ClientCore(10, Shelf())
    core.on_up(up(size=3000))
    core.submit(batch(1, 2), 0)
    core.submit(waiting(2, (future(1, 0),)), 0)
    core.submit(batch(3, 1), 0)
    taken(core)

    core.on_results(results(1, value(0, "x" * 5000)))
    core.on_results(over(2))

    assert core.messages == []  # there is room for it once nothing else is unfinished
    core.check()
    core.on_results(results(1, value(1, "y")))
    core.on_results(results(3, values(0, "z")))
    (message,) = taken(core)
    assert message.batch_id == 2
    assert len(message.payload) > 5000
    core.check()


def test_what_was_asked_to_end_ends_when_its_batch_came_too_late(core):
    core.submit(batch(1, 1), 0)
    second = waiting(2, (future(1, 0),), (1, future(1, 0)))
    core.submit(second, 0)
    core.cancel(2, 0)
    taken(core)

    core.on_results(results(1, value(0, "first")))
    core.on_results(over(2, 2))

    assert second.receiver.of == {0: "cancelled"}
    (message,) = taken(core)
    assert list(numbers(U32, message.finished)) == [0, 1]
    core.check()


def test_a_new_scheduler_gets_what_is_there_and_hears_of_no_failure(core):
    core.submit(batch(1, 3), 0)
    second = waiting(2, (future(1, 0), future(1, 1)), (future(1, 2),), function=OTHER)
    third = waiting(3, (future(2, 1),), (future(2, 0),))
    core.submit(second, 0)
    core.submit(third, 0)
    core.on_results(results(1, value(0, "first"), (2, 1, Status.EXCEPTION, dump_failure(KeyError("k")))))
    taken(core)

    core.on_up(up())

    assert type(second.receiver.of[1]) is KeyError
    assert type(third.receiver.of[0]) is KeyError
    submitted = [message for message in taken(core) if isinstance(message, m.SubmitBatch)]
    assert [message.batch_id for message in submitted] == [1, 2, 3]
    assert edges(submitted[1]) == [(1, 1)]
    assert edges(submitted[2]) == [(2, 0)]
    core.check()


def test_what_waits_for_what_was_never_sent_ends_with_it():
    core = ClientCore(10, Shelf())
    core.on_up(up(tasks=1))
    core.submit(batch(1, 1), 0)
    core.submit(batch(2, 1), 0)
    third = waiting(3, (future(2, 0),))
    core.submit(third, 0)

    core.cancel(2, 0)

    assert third.receiver.of == {0: "cancelled"}
    assert core.batch_ids() == {1}
    core.check()


def test_what_waits_for_what_is_given_up_fails_likewise(core):
    core.submit(batch(1, 1), 0)
    core.submit(batch(2, 1), 5)
    younger = waiting(3, (future(1, 0),), (future(2, 0),))
    core.submit(younger, 5)
    taken(core)

    core.expire(0, 12, lambda: TimeoutError("silent"))

    assert {index: type(outcome) for index, outcome in younger.receiver.of.items()} == {0: TimeoutError}
    assert core.batch_ids() == {2, 3}
    core.check()


def test_failing_some_batches_fails_what_waits_for_them(core):
    core.submit(batch(1, 1), 0)
    core.submit(batch(2, 1), 0)
    third = waiting(3, (future(1, 0),))
    core.submit(third, 0)
    taken(core)

    core.fail([1, 99], lambda: ValueError("no"))

    assert isinstance(third.receiver.of[0], ValueError)
    assert core.batch_ids() == {2}
    assert "AbandonBatches" in names(taken(core))
    core.check()


def test_all_tasks_of_some_batches_can_be_cancelled():
    core = ClientCore(10, Shelf())
    core.on_up(up(tasks=2))
    core.submit(batch(1, 2), 0)
    unsent = batch(2, 2)
    core.submit(unsent, 0)
    core.submit(batch(3, 1), 0)
    taken(core)

    core.cancel_batches([1, 2])

    assert unsent.receiver.of == {0: "cancelled", 1: "cancelled"}
    assert names(taken(core)) == ["CancelTasks"]
    assert core.batch_ids() == {1, 3}
    core.check()


def test_a_future_that_was_done_meanwhile_is_replaced_by_its_result(core):
    done, failed = future(1, 0), future(1, 1)
    second = waiting(2, (done, failed), (done,))
    complete([done], ["first"], NO_PROFILE)
    fail(failed, ValueError("no"))

    core.submit(second, 0)

    assert isinstance(second.receiver.of[0], ValueError)
    *_, message = taken(core)
    assert links(message, 1) == [InlineLink(dump_result("first", DEFAULT))]
    core.check()


def test_a_future_of_a_task_that_is_unknown_is_missing(core):
    second = waiting(2, (future(1, 0),))
    core.submit(second, 0)
    assert isinstance(second.receiver.of[0], MissingObjects)
    assert core.is_idle


# ---- what is kept, and what is not restored


def stored(shelf, result="stored"):
    handle = shelf.put(whole_parts(result, DEFAULT))
    key, size = handle.key, handle.size
    shelf.objects[b"kept"] = shelf.objects[key]
    del handle
    shelf.objects[key] = shelf.objects.pop(b"kept")
    return key, (0, 1, Status.STORED, pack_stored(size, key))


def test_a_stored_result_stays_until_what_needs_it_is_over(core, shelf):
    first = batch(1, 1)
    core.submit(first, 0)
    second = waiting(2, (future(1, 0),))
    core.submit(second, 0)
    key, run = stored(shelf)
    core.on_results(results(1, run))
    first.receiver.of.clear()  # the user's future is gone
    assert key in shelf.objects

    core.on_up(up())
    *_, message = taken(core)
    assert links(message) == [StoredLink(key)]
    core.on_results(results(2, value(0, "done")))

    assert key not in shelf.objects


@pytest.mark.parametrize("needed", [False, True])
def test_what_nobody_wants_is_not_restored_and_kept_only_where_it_is_needed(core, shelf, needed):
    first = batch(1, 3)
    first.wanted = frozenset({2})
    source = first.source(0) if needed else None
    core.submit(first, 0)

    key, run = stored(shelf)
    core.on_results(results(1, run, (1, 1, Status.VALUE, b"no pickle at all")))

    assert first.receiver.of == {0: None, 1: None}
    assert (key in shelf.objects) is needed
    core.on_results(results(1, (2, 1, Status.VALUE, dump_result("wanted", DEFAULT))))
    assert first.receiver.of[2] == "wanted"
    del source
    assert key not in shelf.objects


def test_outcomes_are_let_go_of_when_nobody_waits(core):
    first = batch(1, 2)
    core.submit(first, 0)
    second = waiting(2, (future(1, 0),))
    core.submit(second, 0)
    core.on_results(results(1, value(0, "first")))
    assert len(first.sources) == 1

    core.on_results(results(2, value(0, "done")))

    assert len(first.sources) == 0


def test_a_graph_is_asked_for_as_a_whole_until_it_was_accepted(core):
    one = batch(1, 1)
    one.graph = GraphTerms(7, 3)
    core.submit(one, 0)
    *_, message = taken(core)
    assert (message.graph, message.graph_ready) == (7, 3)

    one.graph.ready = 0
    core.on_up(up())
    *_, message = taken(core)
    assert (message.graph, message.graph_ready) == (7, 0)


def test_functions_are_forgotten_though_their_batches_came_too_late(core):
    core.submit(batch(1, 1), 0)
    core.submit(waiting(2, (future(1, 0),), function=OTHER), 0)
    core.on_results(results(1, value(0, 1)))
    core.on_results(over(2))
    core.check()
    core.on_results(results(2, value(0, 1)))
    core.check()
    assert core.is_idle
