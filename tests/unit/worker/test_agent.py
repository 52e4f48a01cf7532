"""The conversation of a worker's process with the scheduler."""

import pickle

import pytest

from scaler_client.serializer import dump_function
from scaler_protocol import messages as m
from scaler_protocol.batch import U32, U64, Status, column, numbers
from scaler_runtime.session import Rejected, Up
from scaler_worker.agent import MAX_UNSENT_BYTES
from scaler_worker.executor import FLUSH_SECONDS
from scaler_worker.record import TASK
from tests.unit.worker.stage import DEFAULT, HELLO, Conversation, decode, shape, values

FUNCTION = b"f" * 16


@pytest.fixture
def talk():
    talk = Conversation()
    talk.agent.on_event(Up(True, m.Registered(b"i" * 16, 0, False)), 0.0)
    talk.turn()
    return talk


def define(fn=abs):
    return m.DefineFunction(FUNCTION, fn.__name__, dump_function(fn, DEFAULT))


def recall(**limits):
    ids = [int(name.removeprefix("slice_")) for name in limits]
    return m.RecallSlices(column(U64, ids), column(U32, list(limits.values())))


def returned(message):
    assert isinstance(message, m.SlicesReturned)
    return dict(zip(numbers(U64, message.slice_ids), numbers(U32, message.limits), strict=True))


def test_it_says_hello_to_a_scheduler_that_does_not_know_it():
    talk = Conversation()
    assert talk.turn() == []
    assert talk.agent.registered is None
    talk.agent.on_event(Up(True, m.Registered(b"i" * 16, 0, False)), 0.0)
    assert talk.turn() == [HELLO]
    assert talk.agent.registered is not None
    talk.agent.on_event(Up(False, m.Registered(b"i" * 16, 0, True)), 0.0)
    assert talk.turn() == []


def test_a_slice_is_run_and_answered(talk):
    assert talk.hear(define(), values([-1, -2])) == []
    talk.stage.run_next()
    (results,) = talk.turn()
    assert shape(decode(results)) == [(0, 2, Status.VALUES)]
    assert pickle.loads(results.payload) == [1, 2]


def test_a_slice_of_an_unknown_function_is_answered(talk):
    talk.hear(define(), m.ForgetFunctions([FUNCTION]), values([-1, -2]))
    talk.stage.run_next()
    (results,) = talk.turn()
    assert shape(decode(results)) == [(0, 2, Status.NOT_DESERIALIZABLE)]


def test_what_waits_is_given_back(talk):
    talk.hear(define(), values(range(10), slice_id=1), values(range(10), slice_id=2), values(range(10), slice_id=3))
    (answer,) = talk.hear(recall(slice_1=0, slice_2=4, slice_9=0))
    assert returned(answer) == {1: 0, 2: 4}
    assert talk.stage.workload.take(0).assigned.slice_id == 2


def test_results_leave_before_what_is_given_back(talk):
    talk.hear(define(), values(range(3), slice_id=1), values(range(3), slice_id=2))
    talk.stage.run_next()
    results, answer = talk.hear(recall(slice_1=0, slice_2=0))
    assert results.slice_id == 1
    assert returned(answer) == {2: 0}


def test_a_recall_of_answered_slices_needs_no_answer(talk):
    talk.hear(define(), values(range(3)))
    talk.stage.run_next()
    assert [type(message) for message in talk.hear(recall(slice_7=0))] == [m.TaskResults]
    assert talk.hear(recall(slice_7=0)) == []


def test_finished_neighbours_of_a_long_task_are_sent_in_time(talk):
    talk.hear(define(), values(range(3)), now=5.0)
    assert talk.agent.is_armed
    assert talk.agent.next_wakeup() == 5.0 + FLUSH_SECONDS
    piece = talk.stage.workload.take(0)
    talk.stage.outcomes.begin(piece, 0)
    talk.stage.outcomes.values.append("first")
    (results,) = talk.turn(5.01)
    assert shape(decode(results)) == [(0, 1, Status.VALUES)]


def test_a_long_task_alone_needs_no_looking(talk):
    talk.hear(define(), values(range(1)), now=5.0)
    assert not talk.agent.is_armed


def fresh(talk, *unheard):
    """Let a scheduler answer that knows nothing; returns what it is told."""
    talk.agent.on_event(Up(True, m.Registered(b"j" * 16, 0, False), list(unheard)), 0.0)
    return talk.turn()


def test_a_new_scheduler_begins_from_nothing(talk):
    talk.hear(define(), values(range(3), slice_id=1), values(range(3), slice_id=2))
    talk.stage.run_next()
    talk.turn()
    assert fresh(talk) == [HELLO]
    assert talk.stage.workload.take(0) is None
    talk.hear(values([1]))
    talk.stage.run_next()
    assert shape(decode(talk.turn()[0])) == [(0, 1, Status.NOT_DESERIALIZABLE)]


def test_a_new_scheduler_is_told_what_runs(talk):
    talk.hear(define(), values(range(9), slice_id=1), values(range(3), slice_id=2))
    talk.stage.workload.take(0)
    talk.stage.record.numbers[TASK] = 4
    (hello,) = fresh(talk)
    (held,) = hello.held
    assert (held.slice_id, held.start, held.stop) == (1, 0, 5)


def test_a_new_scheduler_is_told_what_nobody_heard(talk):
    talk.hear(define(), values(range(2), slice_id=1), values(range(3), slice_id=2))
    talk.stage.run_next()
    (first,) = talk.turn()
    talk.stage.run_next()
    hello, again, second = fresh(talk, first, m.HoldOutput(b"", False))
    assert [(held.slice_id, held.start, held.stop) for held in hello.held] == [(1, 0, 2), (2, 0, 3)]
    assert again is first
    assert second.slice_id == 2


def test_what_an_earlier_scheduler_has_confirmed_is_not_told(talk):
    talk.hear(define(), values(range(9), slice_id=1))
    piece = talk.stage.workload.take(0)
    talk.stage.outcomes.begin(piece, 0)
    talk.stage.outcomes.values.extend([0, 1])
    talk.stage.record.numbers[TASK] = 2
    talk.turn()  # confirmed: the session keeps nothing of it
    (hello,) = fresh(talk)
    (held,) = hello.held
    assert (held.start, held.stop) == (2, 3)


@pytest.mark.parametrize(("dismissed", "code"), [(False, 0), (True, 1)])
def test_it_ends_when_it_is_told(talk, dismissed, code):
    talk.hear(m.Shutdown("enough", dismissed=dismissed))
    assert (talk.agent.end.code, "enough" in talk.agent.end.reason) == (code, True)


def test_it_ends_when_it_is_refused(talk):
    talk.agent.on_event(Rejected("wrong version"), 0.0)
    assert (talk.agent.end.code, "wrong version" in talk.agent.end.reason) == (1, True)


def test_it_ends_when_nothing_is_heard():
    talk = Conversation()
    for second in range(30):
        talk.agent.on_wake(float(second), None)
        assert talk.agent.end is None
        assert talk.agent.next_wakeup() == 30.0
    talk.agent.on_wake(30.0, None)
    assert talk.agent.end.code == 1


def test_silence_counts_from_the_last_word():
    talk = Conversation()
    for second in range(60):
        talk.agent.on_wake(float(second), min(second, 40.0))
    assert talk.agent.end is None
    for second in range(60, 70):
        talk.agent.on_wake(float(second), 40.0)
    talk.agent.on_wake(70.0, 40.0)
    assert talk.agent.end is not None


def test_standing_still_is_no_silence():
    talk = Conversation()
    talk.agent.on_wake(0.0, 0.0)
    talk.agent.on_wake(1000.0, 0.0)
    assert talk.agent.end is None
    for second in range(1001, 1030):
        talk.agent.on_wake(float(second), 0.0)
    assert talk.agent.end is None
    talk.agent.on_wake(1030.0, 0.0)
    assert talk.agent.end is not None


def test_the_main_thread_waits_while_too_much_is_on_its_way(talk):
    talk.unacknowledged = MAX_UNSENT_BYTES + 1
    talk.turn()
    assert not talk.agent._room.is_set()
    talk.unacknowledged = 0
    talk.turn()
    talk.agent.hand_over()


def test_what_it_does_not_understand_is_ignored(talk):
    assert talk.hear(m.Notice("cause", "text")) == []
