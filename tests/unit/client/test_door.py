"""Calls collect in batches until somebody comes by."""

import gc
import threading

import pytest

from scaler_client.calls import OpenBatch
from scaler_client.door import Door
from scaler_client.exceptions import ClientQuitException
from scaler_client.functions import Function
from scaler_protocol.batch import MAX_BATCH_BYTES, MAX_BATCH_TASKS, Encoding

F = Function(b"f" * 16, "f", b"f", None, 1, 1)
G = Function(b"g" * 16, "g", b"g", None, 1, 1)


@pytest.fixture
def wakes():
    return []


@pytest.fixture
def door(wakes):
    return Door(None, lambda: wakes.append(1))


def call(door, item, function=F, **terms):
    terms = {"size": 0, "priority": 0, "timed": False, "capabilities": {}, **terms}
    return door.add_call(function, terms.pop("encoding", Encoding.VALUES), item, **terms)


def test_calls_with_the_same_terms_become_one_batch_in_order(door, wakes):
    futures = [call(door, item) for item in range(3)]
    (batch,) = door.take()
    assert batch.items == [0, 1, 2]
    assert batch.futures == futures
    assert len(wakes) == 3
    assert not door.take()


@pytest.mark.parametrize(
    "terms",
    [
        {"function": G},
        {"encoding": Encoding.TUPLES},
        {"priority": 1},
        {"timed": True},
        {"capabilities": {"gpu": 1}},
    ],
)
def test_other_terms_begin_a_batch(door, terms):
    call(door, 0)
    call(door, 1, **terms)
    call(door, 2)
    assert [batch.items for batch in door.take()] == [[0], [1], [2]]


def test_batches_are_bounded(door):
    for item in range(MAX_BATCH_TASKS + 1):
        call(door, item)
    assert [len(batch.items) for batch in door.take()] == [MAX_BATCH_TASKS, 1]
    for _ in range(3):
        call(door, b"", encoding=Encoding.CALL, size=MAX_BATCH_BYTES // 2)
    assert [len(batch.items) for batch in door.take()] == [2, 1]


def test_everything_comes_in_the_order_it_was_left(door):
    call(door, 0)
    door.order(print)
    call(door, 1)
    batch_id = door.add_batch(lambda batch_id: ("batch", batch_id))
    kinds = [left if not isinstance(left, OpenBatch) else left.items for left in door.take()]
    assert kinds == [[0], print, [1], ("batch", batch_id)]


def test_a_call_that_was_interrupted_in_the_middle_does_not_shift_the_others(door):
    call(door, 0)
    door._open.items.append("no future for it")
    future = call(door, 1)
    first, second = door.take()
    assert (len(first.futures), second.items, second.futures) == (1, [1], [future])


def test_a_closed_door_lets_nothing_in_and_gives_out_what_is_left(door):
    call(door, 0)
    (batch,) = door.close("the end")
    assert batch.items == [0]
    door.order(print)
    for attempt in (lambda: call(door, 1), lambda: door.add_batch(None), door.check_open):
        with pytest.raises(ClientQuitException, match="the end"):
            attempt()
    assert not door.take()
    door.close("another reason")
    assert door.closed_reason == "the end"


def test_without_room_callers_wait_but_the_io_thread_does_not(door):
    door.room.clear()
    door.io_thread = threading.current_thread()
    call(door, 0)
    waiting = threading.Thread(target=call, args=(door, 1))
    waiting.start()
    assert [batch.items for batch in door.take()] == [[0]]
    door.room.set()
    waiting.join()
    assert [batch.items for batch in door.take()] == [[1]]


def test_in_a_forked_process_a_held_lock_does_no_harm(door):
    call(door, 0)
    door._lock.acquire()
    door.room.clear()
    (batch,) = door.close_in_child("forked")
    assert batch.items == [0]
    with pytest.raises(ClientQuitException, match="forked"):
        call(door, 1)


def test_what_was_taken_is_not_kept(door):
    call(door, 0)
    door.take()
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, OpenBatch)]


def test_a_held_door_lets_calls_in_again_later(door):
    door.held_reason = "the task was given up"
    with pytest.raises(ClientQuitException, match="given up"):
        door.check_open()
    door.order(print)
    assert list(door.take()) == [print]
    door.held_reason = ""
    call(door, 0)


def test_batches_that_come_together_lie_side_by_side(door, wakes):
    future = call(door, 0)
    firsts = []

    def make(first):
        firsts.append(first)
        return ["batch", "another"]

    door.add_batches(3, make)
    after = call(door, 1)

    opened, batch, another, last = door.take()
    assert opened.items == [0]
    assert (batch, another) == ("batch", "another")
    assert last.items == [1]
    before = future._ticket.batch_id
    assert firsts == [before + 1]
    assert after._ticket.batch_id == before + 4 == door.last_batch_id
    assert len(wakes) == 3


def test_batches_do_not_come_in_once_it_is_closed(door):
    door.close("over")
    with pytest.raises(ClientQuitException):
        door.add_batches(1, pytest.fail)


def test_ids_go_on_after_those_of_the_client_before():
    door = Door(None, lambda: None, last_batch_id=7)
    call(door, 1)
    (batch,) = door.take()
    assert batch.ticket.batch_id == 8
    assert door.last_batch_id == 8
