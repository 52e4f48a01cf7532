"""Files of deleted objects are written again, by every process of a line, and never under the eyes of somebody."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from scaler import Client, SchedulerClusterCombo
from scaler_object_storage.directory import directory_name, user_folder
from scaler_object_storage.free_files import FREE
from scaler_object_storage.values import Parts
from scaler_protocol.addresses import Address
from tests.integration.commands import Command, wait_until
from tests.integration.storage_peers import connecting

pytestmark = pytest.mark.integration

MIB = 1 << 20
OWNER = b"o" * 16


@pytest.fixture(scope="module")
def storage():
    command = Command("scaler_object_storage", "tcp://127.0.0.1:0")
    yield command.wait_for_line("listening on").split()[-1]
    assert command.stop() == 0


@pytest.fixture
def connector(storage):
    with connecting(storage) as connector:
        yield connector


def reusable(address):
    """Return the inodes of the files that wait to be written again."""
    folder = user_folder() / directory_name(Address.from_string(str(address))) / FREE
    return {path.stat().st_ino for path in folder.iterdir()}


def noise(seed, size=MIB):
    return np.frombuffer(random.Random(seed).randbytes(size), np.uint8)


def negative(array):
    return 255 - array


def hold_once(array, path):
    """Say who looks at the array, and go on looking; the next time, return it."""
    path = Path(path)
    if path.exists():
        return array
    passing = path.with_suffix(".new")
    passing.write_text(str(os.getpid()))
    passing.rename(path)
    while True:
        time.sleep(60)


READER = """
import hashlib, sys, zmq
from scaler_object_storage.connector import ObjectStorageConnector
from scaler_protocol.addresses import Address
connector = ObjectStorageConnector(zmq.Context(), Address.from_string(sys.argv[1]))
view = connector.get(b"key")[1000:]
connector.close()
print("there", flush=True)
sys.stdin.readline()
print(hashlib.sha256(view).hexdigest(), flush=True)
sys.stdin.readline()
"""


class Reader:
    """A process that has a view of the object `key`, and has closed its connection."""

    def __init__(self, address):
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER, str(address)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self):
        assert self.process.stdout.readline() == "there\n"
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.communicate()

    def look(self):
        """Return the hash of what it sees now."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


def delete(connector, *keys):
    connector.delete(keys)
    assert connector.statistics().objects == 0


def test_the_next_object_is_written_into_the_file_of_the_last_one(storage, connector):
    connector.put(b"key", OWNER, Parts.of(bytes(MIB)))
    before = reusable(storage)
    delete(connector, b"key")
    (inode,) = reusable(storage) - before

    connector.put(b"other", OWNER, Parts.of(noise(1).data))

    assert inode not in reusable(storage)
    assert connector.get(b"other") == noise(1).data
    delete(connector, b"other")
    assert inode in reusable(storage)


def test_who_disconnected_still_sees_what_was_deleted_and_who_died_holds_up_nobody(storage, connector):
    content = noise(2)
    connector.put(b"key", OWNER, Parts.of(content.data))
    with Reader(storage) as reader:
        before = reusable(storage)
        delete(connector, b"key")
        assert reusable(storage) <= before
        connector.put(b"key", OWNER, Parts.of(bytes(MIB)))
        delete(connector, b"key")
        for number in range(20):
            connector.put(b"%d" % number, OWNER, Parts.of(bytes(MIB)))
        assert reader.look() == hashlib.sha256(content.data[1000:]).hexdigest()
        delete(connector, *(b"%d" % number for number in range(20)))

    connector.put(b"key", OWNER, Parts.of(content.data))
    with Reader(storage) as reader:
        reader.process.kill()
        reader.process.wait()
        before = reusable(storage)
        delete(connector, b"key")

    assert len(reusable(storage) - before) == 1


def test_results_stay_whatever_their_client_and_others_do_later(storage):
    with SchedulerClusterCombo(n_workers=2, object_storage_address=storage, logging_level="WARNING") as combo:
        kept = []
        for _ in range(2):
            with Client(combo.get_address()) as client:
                for start in range(0, 40, 8):
                    futures = [client.submit(negative, noise(seed)) for seed in range(start, start + 8)]
                    results = [future.result() for future in futures]
                    kept += [(start + index, results[index]) for index in (1, 6)]
                    del futures, results
                for seed, array in kept:
                    assert (array == 255 - noise(seed)).all()

        for seed, array in kept:
            assert (array == 255 - noise(seed)).all()
            assert not array.flags.writeable


def test_what_a_worker_looked_at_that_was_killed_is_the_same_for_the_next_one(storage, tmp_path):
    with (
        SchedulerClusterCombo(n_workers=2, object_storage_address=storage, logging_level="CRITICAL") as combo,
        Client(combo.get_address()) as client,
        connecting(storage) as observer,
    ):
        kept = client.submit(negative, noise(3)).result()
        future = client.submit(hold_once, noise(4), str(tmp_path / "pid"))
        wait_until((tmp_path / "pid").exists)
        others = [client.submit(negative, noise(seed)) for seed in range(10, 30)]
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

        assert (future.result() == noise(4)).all()
        assert all((other.result() == 255 - noise(seed)).all() for seed, other in enumerate(others, 10))
        assert (kept == 255 - noise(3)).all()
        del future, others
        wait_until(lambda: observer.statistics().objects == 0)
        assert (kept == 255 - noise(3)).all()
