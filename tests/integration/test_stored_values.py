"""Large arguments and results, and objects that are sent once: through the object storage, and out of it again."""

import asyncio
import concurrent.futures
import contextlib
import gc
import mmap
import os
import pickle
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zmq

from scaler import Client, SchedulerClusterCombo
from scaler.client.object_reference import ObjectReference
from scaler.client.serializer.default import DefaultSerializer
from scaler.utility.exceptions import (
    ClientQuitException,
    DeserializeObjectError,
    MissingObjects,
    ObjectStorageException,
)
from scaler.utility.network_util import get_available_tcp_port
from scaler_client import objects
from scaler_object_storage.connector import ObjectStorageConnector
from scaler_object_storage.directory import directory_name, is_key, user_folder
from scaler_object_storage.values import Parts
from scaler_protocol.batch import MAX_INLINE_BYTES, STORED_BYTES
from scaler_worker.storage import Storage
from tests.integration.commands import Command, wait_until
from tests.integration.storage_peers import connecting

pytestmark = pytest.mark.integration

LARGE = STORED_BYTES
MAP_NORESERVE = 0x4000  # mman.h; the module mmap does not name it


def echo(value):
    return value


def echo_all(*args, **kwargs):
    return args, kwargs


def ones(count):
    return np.ones(count)


def total(array):
    return float(array.sum())


def facts(array):
    return array.flags.writeable, is_mapped(array)


def kind(value):
    return type(value).__name__


def append(values, value):
    values.append(value)
    return len(values)


def slow_ones(seconds, count):
    time.sleep(seconds)
    return np.ones(count)


def fail_with(value, wanted):
    if len(value) == wanted:
        raise KeyError(wanted)
    return value


class FailsHere:
    """Can be restored in workers only."""

    def __init__(self, padding=b""):
        self.padding = padding

    def __reduce__(self):
        return restore_elsewhere, (os.getppid(), self.padding)


def restore_elsewhere(pid, padding):
    if pid != os.getppid() or padding:
        raise LookupError("only elsewhere")
    return FailsHere(padding)


def fails_here(size):
    return FailsHere(b"x" * size)


def more_than_there_is():
    """Return an array of address space without memory behind it."""
    space = mmap.mmap(-1, 1 << 44, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
    return np.frombuffer(space, np.uint8)


def is_mapped(array):
    """Whether the array's memory is a file of the object storage."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        low, high = (int(number, 16) for number in line.split()[0].split("-"))
        if low <= address < high:
            return "/dev/shm/scaler-" in line
    return False


@pytest.fixture(scope="module")
def storage():
    command = Command("scaler_object_storage", "tcp://127.0.0.1:0")
    yield command.wait_for_line("listening on").split()[-1]
    assert command.stop() == 0


@pytest.fixture(scope="module")
def combo(storage):
    with SchedulerClusterCombo(n_workers=2, object_storage_address=storage, logging_level="WARNING") as combo:
        yield combo


@pytest.fixture(scope="module")
def observer(storage):
    with connecting(storage) as connector:
        yield connector


@pytest.fixture
def client(combo):
    with Client(combo.get_address()) as client:
        yield client


def held(observer):
    """Return number and bytes of all objects, whether the server has heard of them or not."""
    sizes = []
    for path in (user_folder() / directory_name(observer.address)).iterdir():
        with contextlib.suppress(FileNotFoundError):
            if is_key(path.name):
                sizes.append(path.stat().st_size)
    return len(sizes), sum(sizes)


def counted(observer):
    """Return number and bytes of all objects as the server counts them."""
    owners = observer.statistics().owners
    return sum(owner.objects for owner in owners), sum(owner.size for owner in owners)


def assert_nothing_is_left(observer):
    wait_until(lambda: held(observer) == (0, 0), lambda: f"left in the object storage: {held(observer)}")
    wait_until(lambda: counted(observer) == (0, 0), lambda: f"counted by the object storage: {counted(observer)}")


VALUES = [
    bytes(LARGE),
    bytearray(LARGE),
    "ä" * LARGE,
    [bytes(LARGE), {"a": bytes(100)}],
    {"a": bytes(LARGE)},
    list(range(100_000)),
    (1, (2, bytes(LARGE))),
    1 << (LARGE * 16),
    bytes(MAX_INLINE_BYTES + 1),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_of_any_kind_go_there_and_back(client, observer, value):
    assert client.submit(echo, value).result() == value
    assert client.submit(echo_all, 1, value, k=value).result() == ((1, value), {"k": value})
    assert client.map(echo, iter([value] * 3)) == [value] * 3
    assert client.starmap(echo_all, [(value, 1), (2, value)]) == [((value, 1), {}), ((2, value), {})]
    assert_nothing_is_left(observer)


def test_small_and_large_values_may_be_mixed(client, observer):
    values = [[1], bytes(LARGE), 2, "three", bytes(LARGE), None, bytes(2 * LARGE)] * 20
    assert client.map(echo, values) == values
    atoms = [1, bytes(LARGE), 2, "three"] * 20
    assert client.map(echo, atoms) == atoms
    nested = [(1, (bytes(LARGE),)), (2, ())] * 20
    assert client.map(echo_all, *zip(*nested, strict=True)) == [(pair, {}) for pair in nested]
    assert client.map(echo, iter(values)) == values
    assert_nothing_is_left(observer)


def test_arrays_are_mapped_and_cannot_be_written(client):
    array = np.arange(1 << 20)
    assert client.submit(facts, array).result() == (False, True)
    assert client.submit(facts, np.arange(10)).result() == (True, False)
    back = client.submit(echo, array).result()
    assert (back.flags.writeable, is_mapped(back)) == (False, True)
    assert np.array_equal(array, back)
    with pytest.raises(ValueError, match="read-only"):
        back[0] = 1


def test_what_was_fetched_outlives_client_and_storage():
    command = Command("scaler_object_storage", "tcp://127.0.0.1:0")
    address = command.wait_for_line("listening on").split()[-1]
    with SchedulerClusterCombo(n_workers=1, object_storage_address=address, logging_level="WARNING") as combo:
        client = Client(combo.get_address())
        future, unfetched = client.submit(ones, 1 << 20), client.submit(ones, 1 << 20)
        concurrent.futures.wait([future, unfetched])
        array = future.result()
        client.disconnect()
        assert future.result() is array
        for ask in (unfetched.result, unfetched.exception):
            with pytest.raises(ClientQuitException, match="disconnected"):
                ask()
    assert command.stop() == 0
    assert total(array) == 1 << 20


def test_a_result_stays_until_it_is_fetched(client, observer):
    future = client.submit(ones, 1 << 20)
    concurrent.futures.wait([future])
    count, size = held(observer)
    assert count == 1
    assert size > 8 << 20
    assert future.exception() is None
    assert_nothing_is_left(observer)
    assert future.result() is future.result()
    dropped = client.submit(ones, 1 << 20)
    concurrent.futures.wait([dropped])
    assert held(observer)[0] == 1
    del dropped
    assert_nothing_is_left(observer)


def test_every_way_of_asking_gives_the_value(client, observer):
    async def ask():
        return await asyncio.gather(*(client.submit(ones, LARGE) for _ in range(4)))

    assert [total(array) for array in asyncio.run(ask())] == [LARGE] * 4
    futures = [client.submit(ones, LARGE) for _ in range(4)]
    assert [total(future.result()) for future in concurrent.futures.as_completed(futures)] == [LARGE] * 4
    called = concurrent.futures.Future()
    client.submit(ones, LARGE).add_done_callback(lambda future: called.set_result(future.result()))
    assert total(called.result(60)) == LARGE
    del futures
    called = None
    assert_nothing_is_left(observer)


def test_a_custom_serializer_sees_its_own_bytes(combo, observer):
    class Marked(DefaultSerializer):
        @staticmethod
        def serialize(obj):
            return b"marked" + DefaultSerializer.serialize(obj)

        @staticmethod
        def deserialize(payload):
            assert bytes(payload[:6]) == b"marked"
            return DefaultSerializer.deserialize(memoryview(payload)[6:])

    with Client(combo.get_address(), serializer=Marked()) as client:
        value = [1, bytes(LARGE)]
        reference = client.send_object(value)
        assert client.submit(echo, value).result() == value
        assert client.submit(echo_all, 1, reference, k=reference).result() == ((1, value), {"k": value})
    assert_nothing_is_left(observer)


def test_a_result_that_cannot_be_restored_here_is_a_failure(client, observer):
    future = client.submit(fails_here, LARGE)
    with pytest.raises(DeserializeObjectError, match="only elsewhere"):
        future.result()
    assert isinstance(future.exception(), DeserializeObjectError)
    with pytest.raises(DeserializeObjectError, match="only elsewhere"):
        client.map(fails_here, [LARGE, LARGE])
    del future
    assert_nothing_is_left(observer)


# ---- references


def test_an_object_is_sent_once_and_used_by_many(client, observer):
    array = np.arange(1 << 20)
    reference = client.send_object(array, name="numbers")
    assert (reference.name, reference.size > array.nbytes) == (b"numbers", True)
    assert client.send_object(1).name.startswith(b"<obj ")
    assert [client.submit(total, reference).result() for _ in range(3)] == [total(array)] * 3
    assert client.submit(total, array=reference).result() == total(array)
    assert client.submit_verbose(total, (reference,), {}).result() == total(array)
    assert client.map(total, [reference] * 10) == [total(array)] * 10
    assert client.starmap(echo_all, [(1, reference)])[0][0][0] == 1
    assert client.map(facts, [reference]) == [(False, True)]
    wait_until(lambda: held(observer)[0] == 1)
    assert counted(observer)[0] == 1
    del reference
    assert_nothing_is_left(observer)


def test_small_objects_can_be_sent_too(client):
    for value in (1, None, "text", [1, 2]):
        assert client.submit(echo, client.send_object(value)).result() == value


def test_the_object_lives_until_the_tasks_have_ended(client, observer):
    reference = client.send_object(bytes(LARGE))
    futures = [client.submit(slow_ones, 0.05, 1) for _ in range(10)] + [client.submit(kind, reference)]
    del reference
    gc.collect()
    assert futures[-1].result() == "bytes"
    assert_nothing_is_left(observer)


def test_each_task_has_an_object_of_its_own(client):
    reference = client.send_object([bytes(LARGE)])
    assert client.map(append, [reference] * 20, range(20)) == [2] * 20


def test_within_a_container_it_stays_a_reference(client):
    reference = client.send_object([1])
    assert client.submit(kind, reference).result() == "list"
    assert client.submit(kind, [reference]).result() == "list"
    (copy,) = client.submit(echo, [reference]).result()
    assert (type(copy), copy, hash(copy)) == (ObjectReference, reference, hash(reference))
    assert (copy.name, copy.size) == (reference.name, reference.size)
    assert client.submit(echo, copy).result() == [1]
    del reference
    with pytest.raises(MissingObjects):
        client.submit(echo, copy)


def test_a_reference_that_the_client_does_not_hold(combo, client):
    with Client(combo.get_address()) as other:
        theirs = other.send_object(1)
        for use in (partial(client.submit, echo, theirs), partial(client.map, echo, [1, theirs])):
            with pytest.raises(MissingObjects, match="does not hold"):
                use()
        with pytest.raises(MissingObjects):
            client.starmap(echo_all, [(1, theirs)])
        with pytest.raises(MissingObjects):
            client.submit(echo_all, x=pickle.loads(pickle.dumps(theirs)))
    assert client.submit(echo, 1).result() == 1


def test_clearing_frees_objects_and_the_client_goes_on(client, observer):
    reference = client.send_object(bytes(LARGE))
    running = [client.submit(slow_ones, 30, LARGE) for _ in range(2)] + [client.submit(kind, reference)]
    client.clear()
    assert all(future.cancelled() for future in running)
    assert_nothing_is_left(observer)
    with pytest.raises(MissingObjects):
        client.submit(kind, reference)
    assert client.submit(kind, client.send_object(1)).result() == "int"


def test_disconnecting_frees_everything(combo, observer):
    client = Client(combo.get_address())
    kept = [client.send_object(bytes(LARGE)), client.submit(ones, LARGE), client.submit(slow_ones, 30, LARGE)]
    concurrent.futures.wait([kept[1]])
    assert held(observer)[0] == 2
    client.disconnect()
    assert_nothing_is_left(observer)
    for use in (partial(client.send_object, 1), partial(client.submit, kind, kept[0])):
        with pytest.raises(ClientQuitException):
            use()


def test_a_future_within_a_container_is_refused(client):
    future = client.submit(echo, 1)
    with pytest.raises(TypeError, match="ScalerFuture"):
        client.submit(echo, [future])


def test_a_forked_process_deletes_nothing(client, observer):
    reference, future = client.send_object(bytes(LARGE)), client.submit(ones, LARGE)
    concurrent.futures.wait([future])
    pid = os.fork()
    if pid == 0:
        try:
            del reference
            with pytest.raises(ClientQuitException):
                future.result()
            del future
            gc.collect()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert total(future.result()) == LARGE
    assert client.submit(kind, reference).result() == "bytes"
    del reference
    assert_nothing_is_left(observer)


# ---- nothing is kept


def test_a_client_that_lives_for_long_does_not_grow(client, observer):
    gc.collect()
    gc.disable()  # what is dropped goes at once, not when cycles are looked for
    try:
        assert client.map(echo, range(100_000)) == list(range(100_000))
        for future in [client.submit(echo, i) for i in range(10_000)]:
            future.result()
        assert held(observer) == (0, 0)
        for number in range(15):
            futures = [client.submit(echo, np.full(LARGE // 4, i)) for i in range(100)]
            if number % 3 == 0:
                assert [int(future.result()[0]) for future in futures] == list(range(100))
            elif number % 3 == 1:
                concurrent.futures.wait(futures)
            del futures
        assert len(client.map(echo, [bytes(LARGE)] * 500)) == 500
        assert_nothing_is_left(observer)
    finally:
        gc.enable()


def test_a_map_that_fails_leaves_nothing(client, observer):
    kept = None
    try:
        client.map(fail_with, [bytes(LARGE + i) for i in range(200)], [LARGE + 100] * 200)
    except KeyError as error:
        kept = error
    assert kept is not None
    assert_nothing_is_left(observer)  # though the traceback still shows the call


def test_cancelled_tasks_leave_nothing(client, observer):
    futures = [client.submit(slow_ones, 0.02, LARGE) for _ in range(100)] + [client.submit(echo, bytes(LARGE))]
    futures[0].result()
    for future in futures:
        future.cancel()
    del futures, future
    assert_nothing_is_left(observer)


# ---- failures


def test_no_place_is_the_failure_of_the_task_alone(client):
    future = client.submit(more_than_there_is)
    with pytest.raises(ObjectStorageException, match=r"no place for 1759\d+ bytes in /dev/shm/scaler-\S+ and \S+, \d+"):
        future.result()
    with pytest.raises(ObjectStorageException, match="bytes are free"):
        client.submit(total, more_than_there_is())
    with pytest.raises(ObjectStorageException, match="bytes are free"):
        client.send_object(more_than_there_is())
    assert client.map(echo, range(10)) == list(range(10))


def test_an_object_that_is_lost_is_the_failure_of_the_task_alone(client, observer):
    reference = client.send_object([1])
    observer.delete([reference.object_id])
    observer.statistics()
    with pytest.raises(ObjectStorageException, match="no object"):
        client.submit(echo, reference).result()
    future = client.submit(ones, LARGE)
    concurrent.futures.wait([future])
    observer.delete_owner(client._agent.client_id)
    observer.statistics()
    for ask in (future.result, future.exception):
        with pytest.raises(ObjectStorageException, match="no object"):
            ask()
    assert client.submit(echo, [1]).result() == [1]


def test_a_client_waits_for_its_object_storage_no_longer_than_its_timeout(combo):
    nowhere = f"tcp://127.0.0.1:{get_available_tcp_port()}"
    with pytest.raises(TimeoutError, match="no object storage answered"):
        Client(combo.get_address(), object_storage_address=nowhere, timeout_seconds=1)


def test_a_worker_waits_no_longer_than_its_own():
    context = zmq.Context()
    storage = Storage(context, "Worker|x", timeout_seconds=0.1)
    storage.use(f"tcp://127.0.0.1:{get_available_tcp_port()}")
    with pytest.raises(ObjectStorageException, match="not answered"):
        storage.put(b"k" * 16, b"owner", Parts.of(b"x"))
    with pytest.raises(ObjectStorageException, match="not answered"):
        storage.fetch(b"key")
    storage.use("")
    with pytest.raises(ObjectStorageException, match="has no object storage"):
        storage.put(b"k" * 16, b"owner", Parts.of(b"x"))
    context.term()


def test_from_another_machine_values_are_streamed(combo, observer, monkeypatch):
    monkeypatch.setattr(objects, "ObjectStorageConnector", partial(ObjectStorageConnector, shared_memory_root=None))
    with Client(combo.get_address()) as client:
        array = np.arange(1 << 18)
        back = client.submit(echo, array).result()
        assert np.array_equal(array, back)
        assert (back.flags.writeable, is_mapped(back)) == (False, False)

        async def ask():
            return await client.submit(echo, client.send_object(array))

        assert np.array_equal(asyncio.run(ask()), array)
        assert [total(item) for item in client.map(ones, [LARGE] * 5)] == [LARGE] * 5
    assert_nothing_is_left(observer)


def test_the_schedulers_own_object_storage_is_used():
    with SchedulerClusterCombo(n_workers=1, logging_level="WARNING") as combo, Client(combo.get_address()) as client:
        back = client.submit(echo, np.arange(LARGE)).result()
        assert is_mapped(back)
