"""The object storage's command with real clients: on its machine, as from another one, through crashes and abuse."""

import asyncio
import contextlib
import gc
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import psutil
import pytest
import zmq

from scaler_object_storage.connector import ObjectStorageConnector
from scaler_object_storage.core import requests
from scaler_object_storage.directory import SHARED_MEMORY, Directory, directory_name, remove_directory, user_folder
from scaler_object_storage.driver import ObjectStorageServer
from scaler_object_storage.errors import (
    ObjectNotFound,
    ObjectStorageClosed,
    ObjectStorageFull,
    ObjectStorageRefused,
    ObjectStorageUnreachable,
)
from scaler_object_storage.object_file import PART_SUFFIX
from scaler_object_storage.values import Parts, dump_value, load_value
from scaler_protocol import codec
from scaler_protocol import storage_messages as sm
from scaler_protocol.addresses import Address
from scaler_protocol.messages import PRODUCT, PROTOCOL_VERSION
from tests.integration.commands import Command, wait_until
from tests.integration.storage_peers import starting

pytestmark = pytest.mark.integration

ANY = "tcp://127.0.0.1:0"
OWNER = b"o" * 16
MIB = 1 << 20
BOTH_WAYS = pytest.mark.parametrize("root", [SHARED_MEMORY, None], ids=["shared", "streamed"])


def folder_of(address):
    return user_folder() / directory_name(address)


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


@pytest.fixture
def context():
    with zmq.Context() as context:
        yield context


@pytest.fixture(autouse=True)
def no_disk(monkeypatch):
    """What is too much is refused here; of the disk tells `test_object_storage_on_disk.py`."""
    monkeypatch.setenv("SCALER_OBJECT_STORAGE_DISK", "")


@pytest.fixture
def start():
    """Return a function that starts a server; a test that fails leaves none either."""
    with starting() as start:
        yield start


@pytest.fixture
def server(start):
    """A server that is stopped at the end, in order and without a trace."""
    command, address = start()
    yield command, address
    assert command.stop() == 0
    assert not folder_of(address).exists()


@pytest.fixture
def connect(context):
    """Return a function that makes connectors; they are closed at the end."""
    with contextlib.ExitStack() as stack:

        def connect(address, root=SHARED_MEMORY, timeout_seconds=30.0):
            connector = ObjectStorageConnector(
                context, address, timeout_seconds=timeout_seconds, name="test", shared_memory_root=root
            )
            stack.callback(connector.close)
            return connector

        yield connect


# ---- storing and fetching


@BOTH_WAYS
@pytest.mark.parametrize("size", [0, 1, MIB, 20 * MIB + 7])
def test_what_was_put_is_got_by_everybody(server, connect, root, size):
    content = noise(size)
    connect(server[1], root).put(b"key", OWNER, Parts.of(content[:10], content[10:]))

    assert connect(server[1]).get(b"key") == content
    assert connect(server[1], None).get(b"key") == content


@BOTH_WAYS
def test_bytes_come_back_as_bytes(server, connect, root):
    content = noise(3 << 20)
    connector = connect(server[1], root)
    connector.put(b"key", OWNER, dump_value([pickle.PickleBuffer(content), "text"]))

    for reader in (connector, connect(server[1]), connect(server[1], None)):
        value = load_value(reader.get_value(b"key"))
        assert value == [content, "text"]
        assert type(value[0]) is bytes
    with pytest.raises(ObjectNotFound):
        connector.get_value(b"none", wait=False)


@BOTH_WAYS
def test_arrays_come_back_as_views(server, connect, root):
    numpy = pytest.importorskip("numpy")
    array = numpy.random.default_rng(1).random((500, 500))
    connector = connect(server[1], root)

    connector.put(b"key", OWNER, dump_value({"array": array, "text": "x" * 100_000}))
    value = load_value(connector.get(b"key"))

    assert (value["array"] == array).all()
    assert value["text"] == "x" * 100_000
    assert not value["array"].flags.writeable
    assert value["array"].ctypes.data % 64 == 0


@BOTH_WAYS
def test_who_comes_first_waits(server, connect, root):
    connector = connect(server[1], root)
    got = Future()
    connector.request(b"key", got.set_result)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(connector.get, b"key")
        wait_until(lambda: connector.statistics().waiting == 2)

        connect(server[1]).put(b"key", OWNER, Parts.of(b"content"))

        assert waiting.result(30) == b"content"
        assert got.result(30) == b"content"


@BOTH_WAYS
def test_a_request_can_be_taken_back(server, connect, root):
    connector = connect(server[1], root)
    got = Future()
    cancel = connector.request(b"key", got.set_result)
    wait_until(lambda: connector.statistics().waiting == 1)

    cancel()

    wait_until(lambda: connector.statistics().waiting == 0)
    connector.put(b"key", OWNER, Parts.of(b"content"))
    assert not got.done()


@BOTH_WAYS
def test_an_object_that_is_nowhere_is_not_found(server, connect, root):
    connector = connect(server[1], root)

    with pytest.raises(ObjectNotFound):
        connector.get(b"none", wait=False)
    with pytest.raises(ObjectNotFound, match=r"within 0\.2 seconds"):
        connector.get(b"none", timeout_seconds=0.2)


@BOTH_WAYS
def test_an_object_stays_with_who_has_it(server, connect, root):
    first, second = noise(MIB, 1), noise(2 * MIB, 2)
    connector = connect(server[1], root)
    connector.put(b"key", OWNER, Parts.of(first))
    old = connector.get(b"key")

    connector.put(b"key", OWNER, Parts.of(second))
    new = connector.get(b"key")
    connector.delete([b"key"])
    assert connector.statistics().objects == 0
    connector.close()

    assert old == first
    assert new == second


@BOTH_WAYS
def test_an_owners_objects_go_together(server, connect, root):
    connector = connect(server[1], root)
    for number in range(10):
        connector.put(b"mine %d" % number, OWNER, Parts.of(bytes(1000)))
    connector.put(b"other", b"other", Parts.of(b"x"))
    assert {share.owner: (share.objects, share.size) for share in connector.statistics().owners} == {
        OWNER: (10, 10_000),
        b"other": (1, 1),
    }

    connector.delete_owner(OWNER)

    assert [share.owner for share in connector.statistics().owners] == [b"other"]
    assert len(list(folder_of(server[1]).glob("[0-9a-f]*"))) == 1


def test_an_object_that_was_never_announced_goes_with_its_owner(server, connect):
    connector = connect(server[1])
    connector.wait_until_ready()
    script = (
        "import sys; from pathlib import Path; from scaler_object_storage.folder import Folder\n"
        "from scaler_object_storage.object_file import write_object\n"
        "from scaler_object_storage.values import Parts\n"
        f"write_object(Folder(Path(sys.argv[1])), b'key', {OWNER!r}, Parts.of(b'content'))"
    )
    subprocess.run([sys.executable, "-c", script, str(folder_of(server[1]))], check=True)
    assert connector.get(b"key", wait=False) == b"content"

    connector.delete_owner(OWNER)
    connector.statistics()

    with pytest.raises(ObjectNotFound):
        connector.get(b"key", wait=False)


@BOTH_WAYS
def test_many_threads_use_one_connector(server, connect, root):
    connector = connect(server[1], root)

    def work(number):
        content = noise(300_000 + number, number)
        connector.put(b"%d" % number, OWNER, Parts.of(content))
        assert connector.get(b"%d" % number) == content
        if number % 2:
            connector.delete([b"%d" % number])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(60)))

    assert connector.statistics().objects == 30


def test_a_connector_is_of_one_process(server, connect):
    connector = connect(server[1])
    connector.put(b"key", OWNER, Parts.of(b"content"))

    pid = os.fork()
    if pid == 0:  # leaves by os._exit: nothing of the test may run twice
        try:
            connector.get(b"key")
        except ObjectStorageClosed:
            os._exit(7)
        os._exit(1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_closed_connector_says_so(server, connect):
    connector = connect(server[1])
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(connector.get, b"none")
        wait_until(lambda: connector.statistics().waiting == 1)
        connector.close()

        with pytest.raises(ObjectStorageClosed):
            waiting.result(30)
    with pytest.raises(ObjectStorageClosed):
        connector.get(b"none")


# ---- ends and crashes


@BOTH_WAYS
def test_a_server_that_was_killed_finds_its_objects_again(connect, root, start):
    command, address = start()
    connector = connect(address, root)
    content = noise(3 * MIB)
    connector.put(b"key", OWNER, Parts.of(content))
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(connector.get, b"later")
        wait_until(lambda: connector.statistics().waiting == 1)
        command.kill()
        asked = pool.submit(connector.get, b"key")

        command, again = start(address)
        assert again == address
        assert asked.result(30) == content
        connect(address, None).put(b"later", OWNER, Parts.of(b"at last"))
        assert waiting.result(30) == b"at last"

    assert connector.statistics().size == len(content) + len(b"at last")
    assert command.stop() == 0
    assert not folder_of(address).exists()


def test_an_upload_survives_the_server(connect, start):
    command, address = start()
    connector = connect(address, None)
    content = noise(200 * MIB)
    with ThreadPoolExecutor() as pool:
        put = pool.submit(connector.put, b"key", OWNER, Parts.of(content))
        wait_until(lambda: list(folder_of(address).glob(f"*{PART_SUFFIX}")) or put.done())
        command.kill()
        command, _ = start(address)
        put.result(60)

    assert connect(address).get(b"key") == content
    assert command.stop() == 0


def test_a_stopped_server_is_waited_for(server, connect):
    command, address = server
    connector = connect(address, None)
    connector.put(b"key", OWNER, Parts.of(b"content"))
    command.process.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(connector.get, b"key")
        with pytest.raises(TimeoutError):
            waiting.result(0.5)
        command.process.send_signal(signal.SIGCONT)
        assert waiting.result(30) == b"content"


@BOTH_WAYS
def test_a_server_that_is_not_there_is_unreachable(connect, root, start):
    command, address = start()
    command.stop()
    connector = connect(address, root, timeout_seconds=0.3)

    for call in (
        connector.wait_until_ready,
        lambda: connector.get(b"key"),
        lambda: connector.put(b"key", OWNER, Parts.of(b"content")),
    ):
        started = time.monotonic()
        with pytest.raises(ObjectStorageUnreachable, match=str(address)):
            call()
        assert time.monotonic() - started < 10


@BOTH_WAYS
def test_a_server_that_went_in_order_is_unreachable_too(connect, root, start):
    command, address = start()
    connector = connect(address, root, timeout_seconds=0.3)
    connector.put(b"key", OWNER, Parts.of(b"content"))
    command.stop()

    with pytest.raises(ObjectStorageUnreachable):
        connector.get(b"key")
    with pytest.raises(ObjectStorageUnreachable):
        connector.put(b"key", OWNER, Parts.of(b"content"))


WRITER = """
import sys
from pathlib import Path
from scaler_object_storage.folder import Folder
from scaler_object_storage.object_file import PartFile
part = PartFile(Folder(Path(sys.argv[1])), 50 << 20)
part.write(0, [bytes(20 << 20)])
print("half", flush=True)
sys.stdin.read()
"""


def test_a_writer_that_was_killed_leaves_nothing(connect, start):
    command, address = start()
    connector = connect(address)
    connector.put(b"key", OWNER, Parts.of(b"content"))
    folder = folder_of(address)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    writer.stdout.readline()
    writer.kill()
    writer.communicate()
    (part,) = folder.glob(f"*{PART_SUFFIX}")
    os.utime(part, (0, 0))  # as if it had been a while

    command.kill()
    command, _ = start(address)

    wait_until(lambda: not part.exists())
    assert connector.get(b"key") == b"content"
    assert command.stop() == 0


PARENT = """
import os, sys
from scaler_object_storage.config import ObjectStorageConfig
from scaler_object_storage.server import run_child
from scaler_protocol.addresses import Address
from scaler_runtime.options import LoggingConfig

class Channel:
    def say(self, message):
        os.write(1, (repr(message) + "\\n").encode())

parent = os.getpid()
pid = os.fork()
if pid == 0:
    os.setsid()
    config = ObjectStorageConfig(Address.from_string(sys.argv[1]))
    os._exit(run_child(((config, LoggingConfig()), parent), Channel()))
os.write(1, f"child {pid}\\n".encode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


class Parent:
    """A program that starts an object storage as its child."""

    def __init__(self, address):
        self.process = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(address)], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.said = self.child = None

    def __enter__(self):
        heard = {}
        while len(heard) < 2:  # the log goes to standard output, too
            line = self.process.stdout.readline()
            assert line, "it ended without a word"
            if line.startswith(("(", "child ")):
                heard[line[0]] = line
        self.said = eval(heard["("])
        with contextlib.suppress(psutil.NoSuchProcess):  # one that cannot start may have ended already
            self.child = psutil.Process(int(heard["c"].split()[1]))
        return self

    def __exit__(self, *exception):
        children = [] if self.child is None else [self.child]
        for process in (*children, self.process):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.stdout.close()
        self.process.wait(30)
        assert not psutil.wait_procs(children, 30)[1]


def test_a_child_ends_with_its_parent_and_leaves_the_objects_to_the_next(connect, start):
    with Parent(ANY) as parent:
        assert parent.said[0] == "listening"
        address = Address.from_string(parent.said[1])
        connect(address).put(b"key", OWNER, Parts.of(b"content"))

        parent.process.kill()

        psutil.wait_procs([parent.child], 30)
        assert not parent.child.is_running()
    command, _ = start(address)
    assert connect(address).get(b"key", wait=False) == b"content"
    assert command.stop() == 0


def test_a_child_that_is_asked_to_stop_leaves_nothing(connect):
    with Parent(ANY) as parent:
        address = Address.from_string(parent.said[1])
        connect(address).put(b"key", OWNER, Parts.of(b"content"))

        parent.child.terminate()

        assert parent.process.wait(30) == 0
        assert not folder_of(address).exists()


def test_a_child_says_why_it_cannot_start(server):
    with Parent(server[1]) as parent:
        assert parent.said[0] == "failed"
        assert str(server[1]) in parent.said[1]
        assert "\n" not in parent.said[1]
        assert parent.process.wait(30) == 1


def test_an_address_in_use_is_one_line_and_exit_1(server):
    command = Command("scaler_object_storage", server[1])

    assert command.process.wait(30) == 1
    command.assert_nothing_left()
    assert len(command.lines) == 1
    assert str(server[1]) in command.lines[0]


def test_a_directory_in_use_is_one_line_and_exit_1(start):
    command, address = start()
    command.stop()
    directory = Directory(address)
    try:
        command = Command("scaler_object_storage", address)
        assert command.process.wait(30) == 1
        command.assert_nothing_left()
        assert len(command.lines) == 1
        assert "in use" in command.lines[0]
    finally:
        directory.remove()


def test_any_start_removes_what_nobody_came_back_for(start):
    command, abandoned = start()
    command.kill()
    command, recent = start()
    command.kill()
    for path in (folder_of(abandoned) / "lock", folder_of(abandoned)):
        os.utime(path, (0, 0))

    command, _ = start()

    assert not folder_of(abandoned).exists()
    assert folder_of(recent).exists()
    command.stop()
    assert remove_directory(recent)


def test_a_directory_that_somebody_removed_is_made_again(context, tmp_path):
    with serving(context, tmp_path) as server:
        connector = ObjectStorageConnector(context, server.address, timeout_seconds=30, shared_memory_root=tmp_path)
        connector.put(b"key", OWNER, Parts.of(b"content"))
        shutil.rmtree(server.directory)
        server._sweep_at = 0.0

        wait_until(lambda: connector.statistics().objects == 0 and server.directory.exists())
        connector.put(b"key", OWNER, Parts.of(b"again"))

        assert connector.get(b"key") == b"again"
        connector.close()


# ---- memory


def test_more_than_the_memory_is_refused_with_figures(server, connect):
    for root in (SHARED_MEMORY, None):
        connector = connect(server[1], root)
        block = bytes(MIB)
        count = shutil.disk_usage(SHARED_MEMORY).free // MIB + 100

        with pytest.raises(ObjectStorageFull) as caught:
            connector.put(b"key", OWNER, Parts([block] * count))

        assert caught.value.directory == str(folder_of(server[1]))
        assert caught.value.needed_bytes > caught.value.free_bytes > 0
        connector.put(b"key", OWNER, Parts.of(b"small"))
        assert connector.get(b"key") == b"small"


@contextlib.contextmanager
def serving(context, root):
    """Run a server in a thread of this process, with its files elsewhere than in /dev/shm."""
    ready = Future()

    async def main():
        server = ObjectStorageServer(context, Address.from_string(ANY), root)
        ready.set_result((server, asyncio.get_running_loop()))
        await server.run()
        server.close(keep_objects=False)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    server, loop = ready.result(30)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(server.stop)
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def small_memory(tmp_path):
    """A tmpfs of 4 MiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", tmp_path]
    if os.getuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield tmp_path
    gc.collect()  # a caught error may hold the open folder
    subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "streamed"])
def test_when_memory_is_full_others_go_on_and_space_returns(context, small_memory, is_shared):
    with serving(context, small_memory) as server:
        root = small_memory if is_shared else None
        connector = ObjectStorageConnector(context, server.address, timeout_seconds=30, shared_memory_root=root)
        connector.put(b"one", OWNER, Parts.of(bytes(2 * MIB)))
        with pytest.raises(ObjectStorageFull):
            connector.put(b"two", OWNER, Parts.of(bytes(3 * MIB)))

        assert connector.get(b"one") == bytes(2 * MIB)
        with pytest.raises(ObjectNotFound):
            connector.get(b"two", wait=False)
        connector.delete([b"one"])
        assert connector.statistics().objects == 0
        connector.put(b"two", OWNER, Parts.of(bytes(3 * MIB)))

        assert connector.get(b"two") == bytes(3 * MIB)
        connector.close()
    assert list(small_memory.iterdir()) == []


# ---- strangers


class Stranger:
    """A bare socket that says whatever it likes."""

    def __init__(self, context, address):
        self.socket = context.socket(zmq.DEALER)
        self.socket.set(zmq.LINGER, 0)
        self.socket.connect(str(address))

    def say(self, *messages):
        self.socket.send_multipart(codec.encode_storage(sm.StoragePacket(list(messages))))

    def hear(self):
        assert self.socket.poll(30_000)
        (message,) = codec.decode_storage(self.socket.recv_multipart()).messages
        return message


@pytest.fixture
def stranger(context, server):
    stranger = Stranger(context, server[1])
    yield stranger
    stranger.socket.close()


def test_malformed_bytes_are_dropped_and_counted(server, connect, stranger):
    connector = connect(server[1])
    connector.put(b"key", OWNER, Parts.of(b"content"))
    valid = codec.encode_storage(sm.StoragePacket([sm.UploadChunk(1, b"u" * 16, 0, b"payload")]))
    generator = random.Random(3)
    for _ in range(500):
        frames = [bytearray(frame) for frame in valid]
        for _ in range(generator.randint(1, 6)):
            frames[0][generator.randrange(len(frames[0]))] = generator.randrange(256)
        stranger.socket.send_multipart(frames)
        stranger.socket.send_multipart([generator.randbytes(generator.randrange(200)) for _ in range(3)])
    stranger.say(sm.AskStatistics(1))
    while not isinstance(figures := stranger.hear(), sm.Statistics):
        pass

    assert figures.dropped >= 500
    assert connector.get(b"key") == b"content"
    wait_until(lambda: "malformed" in server[0].output)
    assert sum("malformed" in line for line in server[0].lines) <= 2


def test_a_frame_that_is_too_long_ends_only_its_connection(server, connect, stranger):
    stranger.socket.send_multipart([bytes(64 * MIB)])
    connector = connect(server[1])

    connector.put(b"key", OWNER, Parts.of(b"content"))

    assert connect(server[1], None).get(b"key") == b"content"


def test_who_asks_and_does_not_read_costs_little(server, connect, stranger):
    command, address = server
    connector = connect(address, None)
    content = noise(64 * MIB)
    connector.put(b"key", OWNER, Parts.of(content))
    stranger.say(sm.AwaitObject(1, b"key", False))
    found = stranger.hear()
    process = psutil.Process(command.process.pid)
    before = process.memory_info().rss - process.memory_info().shared

    for number in range(3000):
        with contextlib.suppress(zmq.Again):
            request = sm.ReadChunk(number, b"key", found.version, 0, sm.CHUNK_BYTES)
            packet = codec.encode_storage(sm.StoragePacket([request]))
            stranger.socket.send_multipart(packet, zmq.NOBLOCK)
    assert connector.get(b"key") == content
    wait_until(lambda: "does not read" in command.output)
    assert process.memory_info().rss - process.memory_info().shared - before < 200 * MIB


def test_keys_that_are_none_are_refused(server, connect, stranger):
    stranger.say(sm.StorageHello(PRODUCT, PROTOCOL_VERSION, "stranger"))
    assert isinstance(stranger.hear(), sm.StorageWelcome)
    for key in (b"", bytes(65)):
        stranger.say(sm.AwaitObject(1, key, False))
    stranger.say(sm.AskStatistics(2))

    assert stranger.hear().dropped == 2


def test_a_peer_of_another_version_gets_one_line(server, stranger):
    stranger.say(sm.StorageHello(PRODUCT, PROTOCOL_VERSION + 1, "from the future"))

    assert str(PROTOCOL_VERSION + 1) in stranger.hear().reason
    wait_until(lambda: "from the future" in server[0].output)


def test_a_connector_of_another_version_is_told(server, connect, monkeypatch):
    monkeypatch.setattr(requests, "PROTOCOL_VERSION", 999)
    connector = connect(server[1])

    with pytest.raises(ObjectStorageRefused, match="999"):
        connector.wait_until_ready()
    with pytest.raises(ObjectStorageRefused):
        connector.put(b"key", OWNER, Parts.of(b"content"))


def test_errors_survive_pickling():
    error = ObjectStorageFull("/dev/shm/x", 10, 5)

    assert str(pickle.loads(pickle.dumps(error))) == str(error)
