"""Which bytes a worker keeps at hand, without an object storage behind it."""

import pytest

from scaler_worker import storage as module
from scaler_worker.storage import KEPT_SECONDS, Storage


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def storage(clock, monkeypatch):
    monkeypatch.setattr(module, "KEPT_BYTES", 100)
    storage = Storage(None, "Worker|x", clock=clock)
    storage.fetched = []

    def fetch(key):
        storage.fetched.append(key)
        return memoryview(bytes(int(key)))

    storage.fetch = fetch
    return storage


def test_bytes_that_several_need_are_fetched_once(storage):
    views = [storage.fetch_shared(b"50") for _ in range(3)]
    assert storage.fetched == [b"50"]
    assert views[0] is views[1] is views[2]


def test_the_least_recently_used_go_first(storage):
    for key in (b"50", b"30", b"50", b"40"):  # 30 goes
        storage.fetch_shared(key)
    storage.fetch_shared(b"50")
    assert storage.fetched == [b"50", b"30", b"40"]
    storage.fetch_shared(b"30")
    assert storage.fetched[-1] == b"30"


def test_what_is_too_large_is_not_kept(storage):
    for _ in range(2):
        storage.fetch_shared(b"101")
    assert storage.fetched == [b"101", b"101"]
    assert storage.patience(0) is None


def test_what_is_not_used_is_let_go(storage, clock):
    assert storage.patience(clock.now) is None
    storage.fetch_shared(b"50")
    clock.now += 1
    storage.fetch_shared(b"10")
    assert storage.patience(clock.now) == KEPT_SECONDS - 1
    storage.tidy(clock.now)
    clock.now += KEPT_SECONDS - 1
    storage.tidy(clock.now)
    assert storage.patience(clock.now) == 1
    storage.fetch_shared(b"50")
    assert storage.fetched == [b"50", b"10", b"50"]
    storage.tidy(clock.now + 2 * KEPT_SECONDS)
    assert storage.patience(clock.now) is None


def test_without_an_address_there_is_nothing_to_delete():
    Storage(None, "Worker|x").delete([b"key"])
