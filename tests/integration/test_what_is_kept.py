"""Over 100,000 tasks of every kind nothing is kept that nobody needs: not in the object storage, not in the client."""

import concurrent.futures
import gc
from collections import Counter

import numpy as np
import pytest
import zmq

from scaler import Client, SchedulerClusterCombo
from scaler.utility.exceptions import MissingObjects
from scaler_object_storage.connector import ObjectStorageConnector
from scaler_protocol.addresses import Address
from scaler_protocol.batch import STORED_BYTES
from tests.integration.commands import wait_until
from tests.integration.test_cluster import nothing_left

pytestmark = pytest.mark.integration

LARGE = STORED_BYTES
OURS = ("ScalerFuture", "Batch", "Packed", "Handle", "StoredResult", "Source", "LinkedCall", "MapCall", "GraphCall")
"""Classes of the client whose objects belong to tasks that somebody waits for."""


def echo(value):
    return value


def ones(count):
    return np.ones(count, np.uint8)


def add(*values):
    return sum(int(np.sum(value)) for value in values)


def refuse(value):
    raise KeyError(len(value))


@pytest.fixture(scope="module")
def combo():
    with nothing_left() as note, SchedulerClusterCombo(n_workers=2, logging_level="WARNING") as combo:
        yield combo
        note()


@pytest.fixture
def observer(combo):
    host, _, port = combo.get_address().rpartition(":")
    context = zmq.Context()
    connector = ObjectStorageConnector(context, Address.from_string(f"{host}:{int(port) + 1}"))
    yield connector
    connector.close()
    context.term()


def stored(observer):
    """Return number and bytes of all objects."""
    owners = observer.statistics().owners
    return sum(owner.objects for owner in owners), sum(owner.size for owner in owners)


def ours():
    return Counter(name for item in gc.get_objects() if (name := type(item).__name__) in OURS)


def small_tasks(client):
    """Run 100,000 tasks."""
    assert client.map(echo, range(56_000)) == list(range(56_000))
    assert len(client.map(echo, (str(number) for number in range(20_000)))) == 20_000
    assert len(client.starmap(echo, [([number],) for number in range(14_000)])) == 14_000
    futures = [client.submit(echo, number) for number in range(8000)]
    assert [future.result() for future in futures[:4000]] == list(range(4000))
    graph = {"0": 1, **{str(number): (echo, str(number - 1)) for number in range(1, 2001)}}
    assert client.get(graph, ["2000"]) == {"2000": 1}


def large_tasks(client, text):
    """Run 311 tasks, each with something in the object storage, and leave them in all the ways there are."""
    assert sum(len(item) for item in client.map(echo, [text] * 50)) == 50 * LARGE
    fetched = [client.submit(ones, LARGE) for _ in range(25)]
    assert sum(int(future.result().sum()) for future in fetched) == 25 * LARGE
    concurrent.futures.wait([client.submit(ones, LARGE) for _ in range(25)])  # nobody fetches these
    reference = client.send_object(text)
    assert client.map(len, [reference] * 25) == [LARGE] * 25
    dependents = [client.submit(add, client.submit(ones, LARGE), client.submit(ones, LARGE)) for _ in range(25)]
    assert [future.result() for future in dependents] == [2 * LARGE] * 25
    for _ in range(20):
        with pytest.raises(KeyError):
            client.submit(refuse, text).result()
        client.submit(ones, LARGE)
        graph = {"size": LARGE, "a": (ones, "size"), "b": (echo, "a"), "c": (add, "a", "b")}
        assert client.get(graph, ["c"]) == {"c": 2 * LARGE}
    client.submit(ones, LARGE).cancel()
    with pytest.raises(KeyError):
        client.map(refuse, [text] * 10)


def test_nothing_is_kept_over_a_hundred_thousand_tasks(combo, observer):
    text = bytes(LARGE)
    gc.collect()
    before = ours()
    with Client(combo.get_address()) as client:
        gc.disable()  # what is dropped goes at once, not when cycles are looked for
        try:
            small_tasks(client)
            assert stored(observer) == (0, 0)
            for _ in range(5):
                large_tasks(client, text)
            wait_until(lambda: stored(observer) == (0, 0), lambda: f"left: {stored(observer)}")
            wait_until(lambda: not ours() - before, lambda: f"left: {ours() - before}")
        finally:
            gc.enable()
        assert client._agent._core.is_idle
        kept = client.send_object(text), client.submit(ones, LARGE)
        concurrent.futures.wait(kept[1:])
        wait_until(lambda: stored(observer)[0] == 2, lambda: f"stored: {stored(observer)}")
        assert 2 * LARGE <= stored(observer)[1] < 3 * LARGE
        client.clear()
        with pytest.raises(MissingObjects):
            client.submit(len, kept[0])
        del kept
        wait_until(lambda: stored(observer) == (0, 0))


def test_views_are_valid_as_long_as_they_live(combo, observer):
    """What was fetched outlives its future, its object, its client; memory that a view shows is not used again."""
    with Client(combo.get_address()) as client:
        arrays = client.map(np.full, [LARGE] * 8, range(8))
        reference = client.send_object(np.full(LARGE, 8))
        arrays.append(client.submit(echo, reference).result())
        parts = [array[::2] for array in arrays]
        del reference, arrays
        wait_until(lambda: stored(observer) == (0, 0))
        assert len(client.map(np.full, [LARGE] * 100, [99] * 100)) == 100  # in the same places, if they were free
        assert [(int(part.min()), int(part.max())) for part in parts] == [(number, number) for number in range(9)]
    with Client(combo.get_address()) as client:
        assert len(client.map(np.full, [LARGE] * 100, [99] * 100)) == 100
    assert [(int(part.min()), int(part.max())) for part in parts] == [(number, number) for number in range(9)]
    for part in parts:
        assert not part.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            part[0] = 1
