"""Futures behave as those of the standard library, though they are made and completed in another way."""

import asyncio
import concurrent.futures
import os
import pickle
import threading
import time

import pytest

from scaler_client.completion import cancel, complete, fail, fail_in_child
from scaler_client.future import NO_PROFILE, ProfileResult, ScalerFuture, Ticket


class Owner:
    client_id = b"c" * 16

    def __init__(self):
        self.cancelled = []
        self.on_cancel = lambda: None

    def cancel(self, batch_id, index):
        self.cancelled.append((batch_id, index))
        self.on_cancel()

    def run_callback(self, callback):
        callback()


@pytest.fixture
def owner():
    return Owner()


@pytest.fixture
def futures(owner):
    ticket = Ticket(owner, 7)
    return [ScalerFuture(ticket, index) for index in range(4)]


def in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def test_it_runs_from_the_beginning_and_ends_by_itself(futures):
    future = futures[0]
    assert (future.running(), future.done(), future.cancelled()) == (True, False, False)
    with pytest.raises(ValueError, match="not ended"):
        future.profiling_info()
    complete([future], ["x"], ProfileResult(0.25, 7, 0.125))
    assert (future.running(), future.done(), future.cancelled()) == (False, True, False)
    assert future.result() == "x"
    assert future.exception() is None
    assert future.profiling_info() == ProfileResult(duration_s=0.25, memory_peak=7, cpu_time_s=0.125)


def test_the_standard_library_knows_what_to_do_with_it(futures):
    assert isinstance(futures[0], concurrent.futures.Future)
    complete(futures[:1], [0], NO_PROFILE)
    finished = []
    waited = in_thread(lambda: finished.append(concurrent.futures.wait(futures, 10)))
    while not all(future.watched for future in futures):
        pass
    complete(futures[1:2], [1], NO_PROFILE)
    fail(futures[2], KeyError("k"))
    cancel(futures[3])
    waited.join()
    assert finished[0].done == set(futures)
    assert set(concurrent.futures.as_completed(futures)) == set(futures)


def test_as_completed_gives_each_once_when_they_end_meanwhile(futures):
    complete(futures[:2], [0, 1], NO_PROFILE)
    got = []
    for future in concurrent.futures.as_completed(futures, 10):
        got.append(future)
        if len(got) == 1:
            complete(futures[2:], [2, 3], NO_PROFILE)
    assert sorted(future.result() for future in got) == [0, 1, 2, 3]


def test_waiting_ends_with_the_result(futures):
    results = []
    threads = [in_thread(lambda future=future: results.append(future.result(10))) for future in futures for _ in "ab"]
    wait_until(lambda: all(len(future._gates) == 2 for future in futures))
    futures[3].add_done_callback(lambda future: results.append(future.result()))  # somebody looks into one as well
    complete(futures, range(4), NO_PROFILE)
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 0, 1, 1, 2, 2, 3, 3, 3]


@pytest.mark.parametrize("end", [fail, lambda future, _: cancel(future)])
def test_waiting_ends_with_a_failure(futures, end):
    caught = []

    def wait():
        with pytest.raises((KeyError, concurrent.futures.CancelledError)):
            futures[0].result()
        caught.append(1)

    threads = [in_thread(wait) for _ in "ab"]
    wait_until(lambda: len(futures[0]._gates) == 2)
    end(futures[0], KeyError("k"))
    for thread in threads:
        thread.join()
    assert caught == [1, 1]


def test_who_has_waited_long_enough_leaves_nothing(futures):
    thread = in_thread(futures[0].result)
    wait_until(lambda: futures[0]._gates)
    others = futures[0]._gates
    for _ in range(3):
        with pytest.raises(concurrent.futures.TimeoutError):
            futures[0].result(0.001)
    assert futures[0]._gates == others
    complete(futures[:1], [1], NO_PROFILE)
    thread.join()
    assert futures[0]._gates == ()
    assert futures[0].result(-1) == 1


def test_waiting_has_a_limit(futures):
    with pytest.raises(concurrent.futures.TimeoutError):
        futures[0].result(0)
    with pytest.raises(concurrent.futures.TimeoutError):
        futures[0].exception(0.001)


def test_failures_are_raised(futures):
    error = KeyError("k")
    fail(futures[0], error)
    with pytest.raises(KeyError) as caught:
        futures[0].result()
    assert caught.value is error
    assert futures[0].exception() is error
    cancel(futures[1])
    for method in (futures[1].result, futures[1].exception):
        with pytest.raises(concurrent.futures.CancelledError):
            method()
    assert futures[1].profiling_info() == ProfileResult()


def test_cancelling_is_true_only_if_the_task_ended_without_a_result(owner, futures):
    first, second, third, fourth = futures
    owner.on_cancel = lambda: cancel(first)
    assert first.cancel()
    assert first.cancel()
    owner.on_cancel = lambda: complete([second], [2], NO_PROFILE)
    assert not second.cancel()
    complete([third], [3], NO_PROFILE)
    assert not third.cancel()
    assert owner.cancelled == [(7, 0), (7, 1)]
    owner.on_cancel = lambda: None
    with pytest.raises(TimeoutError):
        fourth.cancel(0)
    assert fourth.running()


def test_callbacks_are_called_once_with_the_result_there(futures):
    seen = []
    futures[0].add_done_callback(lambda future: seen.append(future.result()))
    futures[0].add_done_callback(lambda future: seen.append(future.result()))
    complete(futures[:1], ["x"], NO_PROFILE)
    assert seen == ["x", "x"]
    futures[0].add_done_callback(lambda future: seen.append(future.result()))
    assert seen == ["x"] * 3


def test_an_error_of_an_immediate_callback_is_raised(futures, caplog):
    complete(futures[:1], ["x"], NO_PROFILE)
    with pytest.raises(ZeroDivisionError):
        futures[0].add_done_callback(lambda _: 1 / 0)
    assert "exception calling the callback" in caplog.text


def test_it_can_be_awaited_from_any_loop(futures):
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(0, complete, futures[:1], ["x"], NO_PROFILE)
        loop.call_later(0, fail, futures[1], KeyError("k"))
        assert await futures[0] == "x"
        assert await futures[0] == "x"
        with pytest.raises(KeyError):
            await futures[1]
        waiting = asyncio.ensure_future(_await(futures[2]))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        complete(futures[2:3], [2], NO_PROFILE)
        assert await futures[2] == 2

    async def _await(future):
        return await future

    asyncio.run(main())


def test_a_loop_that_was_closed_does_no_harm(futures):
    async def begin():
        waiting = asyncio.ensure_future(_await(futures[0]))
        await asyncio.sleep(0)
        waiting.cancel()

    async def _await(future):
        return await future

    asyncio.run(begin())
    complete(futures[:1], [1], NO_PROFILE)
    assert futures[0].result() == 1


def test_task_ids_have_sixteen_bytes_and_stay(futures):
    assert len({future.task_id for future in futures}) == 4
    assert futures[0].task_id == futures[0].task_id
    assert len(futures[0].task_id) == 16


def test_it_cannot_be_pickled(futures):
    with pytest.raises(TypeError, match="ScalerFuture"):
        pickle.dumps([futures[0]])


def test_in_a_forked_process_it_ends_though_its_lock_is_held(futures):
    condition = futures[0]._condition
    held = in_thread(condition.acquire)
    held.join()
    fail_in_child(futures[0], KeyError("forked"))
    with pytest.raises(KeyError):
        futures[0].result(0)
    assert "ScalerFuture" in repr(futures[0])
