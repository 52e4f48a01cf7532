"""More objects than may lie in memory: with the command, real clients, crashes, and disks that are full."""

import asyncio
import contextlib
import gc
import os
import random
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
import zmq

from scaler_object_storage.connector import ObjectStorageConnector
from scaler_object_storage.directory import SHARED_MEMORY, directory_name, user_folder
from scaler_object_storage.driver import ObjectStorageServer
from scaler_object_storage.errors import ObjectStorageFull
from scaler_object_storage.limits import Limits
from scaler_object_storage.values import Parts
from scaler_protocol.addresses import Address
from tests.integration.commands import Command, wait_until
from tests.integration.storage_peers import starting

pytestmark = pytest.mark.integration

ANY = "tcp://127.0.0.1:0"
OWNER = b"o" * 16
MIB = 1 << 20
COUNT = 12
BOTH_WAYS = pytest.mark.parametrize("root", [SHARED_MEMORY, None], ids=["shared", "streamed"])


def content(number):
    return random.Random(number).randbytes(MIB)


def key_of(number):
    return b"%d" % number


@pytest.fixture
def context():
    with zmq.Context() as context:
        yield context


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Return a function that starts a server with 4 MiB of memory, and a disk of its own."""
    monkeypatch.setenv("SCALER_OBJECT_STORAGE_MEMORY", "4M")
    monkeypatch.setenv("SCALER_OBJECT_STORAGE_DISK", str(tmp_path))
    with starting() as start:
        yield start


@pytest.fixture
def connect(context):
    """Return a function that makes connectors; they are closed at the end."""
    with contextlib.ExitStack() as stack:

        def connect(address, root=SHARED_MEMORY):
            connector = ObjectStorageConnector(
                context, address, timeout_seconds=60, name="test", shared_memory_root=root
            )
            stack.callback(connector.close)
            return connector

        yield connect


def in_memory(address):
    folder = user_folder() / directory_name(address)
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file() and not path.is_symlink())


def on_disk(root, address):
    folder = user_folder(root) / directory_name(address)
    return {path.name for path in folder.iterdir() if path.is_file()} - {"lock", "nonce", "pins"}


def put_all(connector):
    for number in range(COUNT):
        connector.put(key_of(number), OWNER, Parts.of(content(number)))


def assert_all_are_there(connector):
    for number in range(COUNT):
        assert connector.get(key_of(number), wait=False) == content(number)


@BOTH_WAYS
def test_what_is_too_much_goes_to_disk_and_is_found_by_everybody(start, connect, tmp_path, root):
    command, address = start()
    connector = connect(address, root)

    put_all(connector)

    wait_until(lambda: in_memory(address) <= 5 * MIB)
    assert_all_are_there(connect(address))
    assert_all_are_there(connect(address, None))
    assert connector.statistics().objects == COUNT
    connector.delete([key_of(number) for number in range(COUNT)])
    assert connector.statistics().objects == 0
    assert on_disk(tmp_path, address) == set()
    assert command.stop() == 0
    assert list(tmp_path.iterdir()) == []
    assert not (user_folder() / directory_name(address)).exists()


def test_views_stay_while_their_objects_move_and_go(start, connect):
    command, address = start()
    connector = connect(address)
    connector.put(key_of(0), OWNER, Parts.of(content(0)))
    view = connector.get(key_of(0))
    put_all(connector)
    wait_until(lambda: in_memory(address) <= 5 * MIB)
    moved = connector.get(key_of(1))
    connector.delete([key_of(number) for number in range(COUNT)])
    assert connector.statistics().objects == 0
    put_all(connector)
    connector.close()

    assert view == content(0)
    assert moved == content(1)
    assert command.stop() == 0
    assert view == content(0)
    assert moved == content(1)


def test_a_server_that_was_killed_finds_them_again(start, connect, tmp_path):
    command, address = start()
    connector = connect(address)
    put_all(connector)
    wait_until(lambda: in_memory(address) <= 5 * MIB)
    command.kill()
    stray = user_folder(tmp_path) / directory_name(address) / b"stray".hex()
    stray.write_bytes(b"of a copy that was not finished")

    command, again = start(address)

    assert again == address
    assert_all_are_there(connector)
    wait_until(lambda: not stray.exists())
    assert_all_are_there(connect(address, None))
    assert command.stop() == 0
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_sees_the_memory_but_not_the_disk_has_them_sent(start, connect, monkeypatch):
    command, address = start()
    connector = connect(address)
    connector.put(b"key", OWNER, Parts.of(content(1)))
    for module in ("connector", "conversation"):  # as in a container that shares /dev/shm alone
        monkeypatch.setattr(f"scaler_object_storage.{module}.map_object", lambda *_: None)

    assert connector.get(b"key") == content(1)
    assert command.stop() == 0


def test_a_limit_that_is_none_is_one_line_and_exit_1(monkeypatch):
    monkeypatch.setenv("SCALER_OBJECT_STORAGE_MEMORY", "much")

    command = Command("scaler_object_storage", ANY)

    assert command.process.wait(60) == 1
    command.assert_nothing_left()
    assert len(command.lines) == 1
    assert "SCALER_OBJECT_STORAGE_MEMORY='much'" in command.lines[0]


# ---- file systems that are full


@contextlib.contextmanager
def small_file_system(path, size):
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path]
    if os.getuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        yield path
    finally:
        gc.collect()  # an error's traceback refers to itself, and to the open folder
        subprocess.run(["umount", path], check=True)


@contextlib.contextmanager
def serving(context, root, limits):
    """Run a server in a thread of this process, with its files elsewhere than in /dev/shm."""
    ready = Future()

    async def main():
        server = ObjectStorageServer(context, Address.from_string(ANY), root, limits=limits)
        ready.set_result((server, asyncio.get_running_loop()))
        await server.run()
        server.close(keep_objects=False)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    server, loop = ready.result(60)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(server.stop)
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "streamed"])
def test_when_memory_is_full_the_disk_is_used_and_when_that_is_full_too_others_go_on(context, tmp_path, is_shared):
    with (
        small_file_system(tmp_path / "memory", "6m") as memory,
        small_file_system(tmp_path / "disk", "6m") as disk,
        serving(context, memory, Limits(100 * MIB, disk)) as server,
    ):
        root = memory if is_shared else None
        connector = ObjectStorageConnector(context, server.address, timeout_seconds=60, shared_memory_root=root)
        stored = []
        with pytest.raises(ObjectStorageFull) as caught:  # noqa: PT012 - one of them fails
            for number in range(COUNT):
                connector.put(key_of(number), OWNER, Parts.of(content(number)))
                stored.append(number)
        assert str(memory) in caught.value.directory
        assert str(disk) in caught.value.directory
        assert len(stored) > 6

        for number in stored:
            assert connector.get(key_of(number), wait=False) == content(number)
        connector.delete([key_of(stored[0]), key_of(stored[-1])])
        assert connector.statistics().objects == len(stored) - 2
        connector.put(b"again", OWNER, Parts.of(content(99)))

        assert connector.get(b"again") == content(99)
        connector.close()
        del connector, caught


def test_a_disk_that_cannot_be_used_is_logged_and_memory_is_what_is_full(context, tmp_path, caplog):
    with (
        small_file_system(tmp_path / "memory", "3m") as memory,
        serving(context, memory, Limits(100 * MIB, tmp_path / "none")) as server,
    ):
        connector = ObjectStorageConnector(context, server.address, timeout_seconds=60, shared_memory_root=memory)
        with pytest.raises(ObjectStorageFull) as caught:
            connector.put(b"key", OWNER, Parts.of(bytes(4 * MIB)))

        assert caught.value.directory == str(server.directory)
        assert str(tmp_path / "none") in caplog.text
        connector.put(b"key", OWNER, Parts.of(content(1)))
        assert connector.get(b"key") == content(1)
        connector.close()
        del connector, caught


def test_a_full_disk_leaves_objects_in_memory_and_is_said(context, tmp_path, caplog):
    with (
        small_file_system(tmp_path / "disk", "1m") as disk,
        serving(context, Path(SHARED_MEMORY), Limits(4 * MIB, disk)) as server,
    ):
        connector = ObjectStorageConnector(context, server.address, timeout_seconds=60)
        put_all(connector)

        wait_until(lambda: "objects stay in memory" in caplog.text)
        assert_all_are_there(connector)
        connector.close()
