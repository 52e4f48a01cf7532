"""Results in the object storage, until somebody asks."""

import asyncio
import gc
import pickle
import threading

import pytest

from scaler_client.completion import complete
from scaler_client.exceptions import DeserializeObjectError, ObjectStorageException
from scaler_client.future import NO_PROFILE, ScalerFuture, Ticket
from scaler_client.serializer import DefaultSerializer
from scaler_client.stored import whole_parts
from scaler_client.stored_result import StoredResult
from tests.unit.client.shelf import Shelf

DEFAULT = DefaultSerializer()


class Owner:
    client_id = b"c" * 16


class Broken:
    def __reduce__(self):
        return int, ("no number",)


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def future():
    return ScalerFuture(Ticket(Owner(), 1), 0)


@pytest.fixture(autouse=True)
def without_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def done(future, shelf, value):
    complete([future], [StoredResult(shelf.put(whole_parts(value, DEFAULT)), DEFAULT)], NO_PROFILE)
    assert future.done()
    assert not shelf.fetched


def test_it_is_fetched_once_and_the_object_goes(future, shelf):
    done(future, shelf, [1])
    first = future.result()
    assert first == [1]
    assert not shelf.objects
    assert future.result() is first
    assert future.exception() is None
    assert len(shelf.fetched) == 1


def test_dropping_the_last_name_of_a_result_is_enough(shelf):
    future = ScalerFuture(Ticket(Owner(), 1), 0)
    assert future._condition is not None  # somebody has looked into it
    done(future, shelf, 1)
    del future
    assert not shelf.objects


def test_it_can_be_awaited(future, shelf):
    done(future, shelf, "x")

    async def main():
        return await future, await future

    assert asyncio.run(main()) == ("x", "x")
    assert not shelf.objects


def test_awaiting_waits_in_another_thread_where_it_must(future, shelf):
    done(future, shelf, "x")
    fetched_by = []
    fetch = shelf.fetch
    shelf.try_fetch = lambda _: None
    shelf.fetch = lambda key: fetched_by.append(threading.current_thread()) or fetch(key)

    async def main():
        return await future

    assert asyncio.run(main()) == "x"
    assert fetched_by != [threading.current_thread()]


def test_the_callback_finds_the_result(future, shelf):
    done(future, shelf, 3)
    seen = []
    future.add_done_callback(lambda future: seen.append(future.result()))
    assert seen == [3]


def test_what_cannot_be_fetched_may_be_asked_for_again(future, shelf):
    done(future, shelf, 3)
    kept, shelf.objects = shelf.objects, {}
    for ask in (future.result, future.exception):
        with pytest.raises(ObjectStorageException):
            ask()
    shelf.objects = kept
    assert future.result() == 3
    assert not shelf.objects


def test_what_cannot_be_restored_is_the_futures_failure(future, shelf):
    done(future, shelf, Broken())
    with pytest.raises(DeserializeObjectError, match="no number"):
        future.result()
    assert isinstance(future.exception(), DeserializeObjectError)
    assert not shelf.objects


def test_several_threads_get_the_same(future, shelf):
    done(future, shelf, [1])
    together = threading.Barrier(8)
    found = []

    def ask():
        together.wait()
        found.append(future.result())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(value) for value in found}) == 1
    assert not shelf.objects


def test_failures_can_be_pickled(future, shelf):
    done(future, shelf, Broken())
    assert "no number" in str(pickle.loads(pickle.dumps(future.exception())))
