"""The client's side of the conversation, message by message."""

import pytest

from scaler_client import defined
from scaler_client.batches import Batch
from scaler_client.core import ClientCore
from scaler_client.exceptions import ClientQuitException
from scaler_client.functions import Function
from scaler_client.packing import pack_shared
from scaler_client.serializer import DefaultSerializer, dump_failure, dump_values
from scaler_client.stored import whole_parts
from scaler_protocol import messages as m
from scaler_protocol.batch import F64, U8, U32, Encoding, Status, column, numbers, pack_stored
from scaler_runtime.session import Up
from tests.unit.client.shelf import Shelf

FUNCTION = Function(b"f" * 16, "f", b"pickled f", None, 1, 1)
OTHER = Function(b"g" * 16, "g", b"pickled g", None, 1, 1)


class Outcomes:
    """A receiver that refuses to hear of a task twice."""

    def __init__(self):
        self.of = {}

    def succeeded(self, start, values, seconds):
        for index, value in enumerate(values, start):
            self._put(index, value)

    def failed(self, start, stop, failure, seconds):
        for index in range(start, stop):
            self._put(index, failure())

    def cancelled(self, start, stop):
        for index in range(start, stop):
            self._put(index, "cancelled")

    def _put(self, index, outcome):
        assert index not in self.of
        self.of[index] = outcome


def up(*, fresh=True, tasks=0, size=0):
    registered = m.Registered(b"i" * 16, 0, not fresh, max_unfinished_tasks=tasks, max_unfinished_bytes=size)
    return Up(fresh, registered)


def batch(batch_id, count=1, function=FUNCTION):
    packed = pack_shared(Encoding.VALUES, list(range(count)))
    return Batch(batch_id, function, packed, DefaultSerializer(), Outcomes())


def results(batch_id, *runs):
    """Runs of (start, count, status, data)."""
    return m.TaskResults(
        slice_id=0,
        client_id=b"",
        batch_id=batch_id,
        starts=column(U32, [run[0] for run in runs]),
        counts=column(U32, [run[1] for run in runs]),
        statuses=column(U8, [run[2] for run in runs]),
        sizes=column(U32, [len(run[3]) for run in runs]),
        durations=column(F64, [0.5] * len(runs)),
        payload=b"".join(run[3] for run in runs),
    )


def values(start, *items):
    return start, len(items), Status.VALUES, dump_values(list(items))


def names(messages):
    return [type(message).__name__ for message in messages]


def taken(core):
    messages = list(core.messages)
    core.messages.clear()
    return messages


@pytest.fixture
def core():
    core = ClientCore(10, Shelf())
    core.on_up(up())
    return core


def test_a_function_is_defined_before_its_first_batch_and_once(core):
    core.submit(batch(1), 0)
    core.submit(batch(2), 0)
    core.submit(batch(3, function=OTHER), 0)
    assert names(taken(core)) == ["DefineFunction", "SubmitBatch", "SubmitBatch", "DefineFunction", "SubmitBatch"]
    core.check()


def test_results_reach_their_tasks_in_any_order_and_once(core):
    one = batch(1, 5)
    core.submit(one, 0)
    core.on_results(results(1, values(3, "d", "e"), values(0, "a")))
    core.on_results(results(1, values(0, "a", "b", "c", "d")))
    assert one.receiver.of == dict(enumerate("abcde"))
    assert core.is_idle
    core.check()
    core.on_results(results(1, values(0, "again")))
    core.on_results(results(99, values(0, "stranger")))


def test_results_beyond_the_batch_are_dropped(core):
    one = batch(1, 2)
    core.submit(one, 0)
    core.on_results(results(1, values(1, "b", "c"), values(0, "a")))
    assert one.receiver.of == {0: "a"}
    core.check()


def test_a_failure_is_the_failure_of_each_task_of_its_run(core):
    one = batch(1, 3)
    core.submit(one, 0)
    core.on_results(results(1, (0, 2, Status.EXCEPTION, dump_failure(KeyError("k"))), (2, 1, Status.CANCELLED, b"")))
    assert [type(one.receiver.of[index]) for index in (0, 1)] == [KeyError, KeyError]
    assert one.receiver.of[2] == "cancelled"


def test_the_credit_in_tasks_is_kept_but_one_batch_always_goes():
    core = ClientCore(10, Shelf())
    core.on_up(up(tasks=4))
    for batch_id, count in ((1, 6), (2, 3), (3, 1)):
        core.submit(batch(batch_id, count), 0)
    assert [message.batch_id for message in taken(core)[1:]] == [1]
    core.check()
    core.on_results(results(1, values(0, *range(4))))
    assert core.messages == []
    core.on_results(results(1, values(4, 4, 5)))
    assert [message.batch_id for message in taken(core)] == [2, 3]
    core.check()


def test_the_credit_in_bytes_is_kept():
    core = ClientCore(10, Shelf())
    first, second = batch(1, 50), batch(2, 50)
    core.on_up(up(size=len(first.packed.payload) + 1))
    core.submit(first, 0)
    core.submit(second, 0)
    assert core.waiting_bytes == len(second.packed.payload)
    core.abandon([1])
    assert core.waiting_bytes == 0
    assert names(taken(core)) == ["DefineFunction", "SubmitBatch", "AbandonBatches", "SubmitBatch"]
    core.check()


def test_a_larger_credit_lets_waiting_batches_go():
    core = ClientCore(10, Shelf())
    core.on_up(up(tasks=1))
    core.submit(batch(1), 0)
    core.submit(batch(2), 0)
    taken(core)
    core.on_up(up(fresh=False, tasks=2))
    assert [message.batch_id for message in taken(core)] == [2]


def test_a_new_scheduler_gets_everything_again_that_is_not_finished(core):
    one, two = batch(1, 5), batch(2)
    core.submit(one, 0)
    core.submit(two, 0)
    core.on_results(results(1, values(0, "a"), values(2, "c", "d")))
    core.on_results(results(2, values(0, "x")))
    core.cancel(1, 4)
    core.on_up(up())
    define, submit, cancel = core.messages
    assert isinstance(define, m.DefineFunction)
    assert submit.batch_id == 1
    assert list(numbers(U32, submit.finished)) == [0, 1, 2, 4]
    assert list(numbers(U32, cancel.starts)) == [4]
    core.check()
    core.on_results(results(1, values(1, "b"), (4, 1, Status.CANCELLED, b"")))
    assert one.receiver.of == {0: "a", 1: "b", 2: "c", 3: "d", 4: "cancelled"}
    assert core.is_idle


def test_a_scheduler_that_is_back_gets_nothing_again(core):
    core.submit(batch(1), 0)
    taken(core)
    core.on_up(up(fresh=False))
    assert core.messages == []


def test_cancelling_what_was_not_sent_needs_nobody():
    core = ClientCore(10, Shelf())
    core.on_up(up(tasks=1))
    one, two = batch(1), batch(2, 2)
    core.submit(one, 0)
    core.submit(two, 0)
    taken(core)
    core.cancel(2, 1)
    assert two.receiver.of == {1: "cancelled"}
    core.check()
    core.on_results(results(1, values(0, "x")))
    (submit,) = taken(core)
    assert list(numbers(U32, submit.finished)) == [1, 2]
    core.on_results(results(2, values(0, "y")))
    assert core.is_idle


def test_a_batch_that_is_cancelled_before_it_goes_is_never_sent():
    core = ClientCore(10, Shelf())
    core.on_up(up(tasks=1))
    core.submit(batch(1), 0)
    core.submit(batch(2), 0)
    taken(core)
    core.cancel(2, 0)
    core.on_results(results(1, values(0, "x")))
    assert core.messages == []
    assert core.is_idle


def test_cancelling_asks_once_and_not_for_what_is_over(core):
    core.submit(batch(1, 3), 0)
    core.on_results(results(1, values(0, "a")))
    taken(core)
    for index in (0, 1, 1):
        core.cancel(1, index)
    core.cancel(77, 0)
    (message,) = taken(core)
    assert (list(numbers(U32, message.starts)), list(numbers(U32, message.counts))) == ([1], [1])
    core.check()


def test_everything_can_be_cancelled():
    core = ClientCore(10, Shelf())
    core.on_up(up(tasks=2))
    one, two = batch(1, 3), batch(2)
    core.submit(one, 0)
    core.submit(two, 0)
    core.on_results(results(1, values(1, "b")))
    taken(core)
    core.cancel_all()
    (message,) = taken(core)
    assert list(numbers(U32, message.starts)) == [0, 2]
    assert two.receiver.of == {0: "cancelled"}
    assert core.batch_ids() == {1}
    core.check()


def test_it_knows_whether_tasks_may_still_run_that_nobody_waits_for(core):
    core.submit(batch(1), 0.0)
    assert not core.has_abandoned
    core.abandon([55])
    assert not core.has_abandoned
    core.abandon([1])
    assert core.has_abandoned


def test_abandoned_batches_are_heard_of_no_more(core):
    one = batch(1, 2)
    core.submit(one, 0)
    core.abandon([1, 55])
    core.on_results(results(1, values(0, "late")))
    assert one.receiver.of == {}
    assert core.is_idle
    assert [message.batch_ids for message in core.messages[2:]] == [[1]]
    core.check()


def test_functions_that_nobody_uses_are_forgotten_at_the_scheduler(core, monkeypatch):
    monkeypatch.setattr(defined, "MAX_IDLE", 1)
    core.submit(batch(1), 0)
    core.on_results(results(1, values(0, "x")))
    core.submit(batch(2, function=OTHER), 0)
    taken(core)
    core.on_results(results(2, values(0, "x")))
    assert [message.function_ids for message in taken(core)] == [[FUNCTION.function_id]]
    core.submit(batch(3), 0)
    assert names(taken(core)) == ["DefineFunction", "SubmitBatch"]


def test_a_silent_scheduler_fails_what_is_older_than_the_timeout(core):
    old, new = batch(1, 2), batch(2)
    core.submit(old, 0)
    assert core.next_expiry(heard_at=3) == 13
    core.submit(new, 8)
    core.on_results(results(1, values(0, "a")))
    taken(core)
    core.expire(3, 13, TimeoutError)
    assert old.receiver.of[0] == "a"
    assert type(old.receiver.of[1]) is TimeoutError
    assert new.receiver.of == {}
    assert names(taken(core)) == ["AbandonBatches"]
    assert core.next_expiry(3) == 18
    core.check()
    core.expire(3, 18, TimeoutError)
    assert core.is_idle
    assert core.next_expiry(3) is None


def test_waiting_batches_expire_too():
    core = ClientCore(10, Shelf())
    core.on_up(up(tasks=1))
    one, two = batch(1), batch(2)
    core.submit(one, 0)
    core.submit(two, 0)
    core.expire(0, 10, TimeoutError)
    assert [type(b.receiver.of[0]) for b in (one, two)] == [TimeoutError, TimeoutError]
    core.check()


def test_all_tasks_may_be_given_up_while_the_client_stays(core):
    core._max_tasks = 1
    sent, waiting = batch(1), batch(2)
    core.submit(sent, 0)
    core.submit(waiting, 0)
    taken(core)
    core.fail_all(ClientQuitException)
    assert [type(one.receiver.of[0]) for one in (sent, waiting)] == [ClientQuitException] * 2
    assert "AbandonBatches" in names(taken(core))
    assert core.is_idle
    core.submit(batch(3), 0)
    assert "SubmitBatch" in names(taken(core))
    core.check()


@pytest.mark.parametrize("failure", [None, ClientQuitException])
def test_in_the_end_every_task_has_an_outcome(failure):
    core = ClientCore(10, Shelf())
    core.on_up(up(tasks=1))
    one, two = batch(1, 2), batch(2)
    core.submit(one, 0)
    core.submit(two, 0)
    core.on_results(results(1, values(0, "a")))
    core.close(failure)
    assert one.receiver.of[0] == "a"
    for outcome in (one.receiver.of[1], two.receiver.of[0]):
        assert outcome == "cancelled" if failure is None else type(outcome) is failure
    assert core.messages == []
    core.check()


def test_check_finds_what_is_wrong(core):
    core.submit(batch(1), 0)
    core._unfinished_tasks += 1
    with pytest.raises(AssertionError, match="unfinished tasks"):
        core.check()
    core._unfinished_tasks -= 1
    core.check()
    core._sent[1].finished.add(0, 1)
    core._unfinished_tasks = 0
    with pytest.raises(AssertionError, match="batch 1 is over"):
        core.check()


# ---- results in the object storage


def stored_run(shelf, start, value):
    handle = shelf.put(whole_parts(value, DefaultSerializer()))
    shelf.release = lambda _: None  # the worker that stored it forgets it
    run = start, 1, Status.STORED, pack_stored(handle.size, handle.key)
    del handle, shelf.release
    return run


def test_a_stored_result_is_delivered_as_what_stands_for_it():
    shelf = Shelf()
    core = ClientCore(10, shelf)
    core.on_up(up())
    work = batch(1, 2)
    core.submit(work, 0.0)
    core.on_results(results(1, stored_run(shelf, 1, "x"), values(0, 1)))
    assert work.receiver.of[0] == 1
    assert work.receiver.of[1].restore() == "x"
    assert core.is_idle
    work.receiver.of.clear()
    assert not shelf.objects


def test_stored_results_that_nobody_waits_for_are_deleted():
    shelf = Shelf()
    core = ClientCore(10, shelf)
    core.on_up(up())
    core.on_results(results(9, stored_run(shelf, 0, "of a batch that is over"), values(1, 2)))
    assert not shelf.objects
    core.submit(batch(1, 2), 0.0)
    core.on_results(results(1, values(0, 5)))
    core.on_results(results(1, stored_run(shelf, 0, "of a task that has an outcome")))
    assert not shelf.objects
    core.check()
