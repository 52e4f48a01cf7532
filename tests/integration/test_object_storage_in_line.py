"""The object storage that a scheduler starts beside itself: where it listens, how long it lives, what is left of it."""

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import psutil
import pytest
import zmq

from scaler.cluster.scheduler import SchedulerProcess
from scaler.config.section.scheduler import PolicyConfig
from scaler.config.types.object_storage_server import ObjectStorageAddressConfig
from scaler.config.types.zmq import ZMQConfig
from scaler_client.client import Client
from scaler_cluster.combo import SchedulerClusterCombo
from scaler_cluster.launcher import StartError
from scaler_object_storage.connector import ObjectStorageConnector
from scaler_object_storage.directory import directory_name, user_folder
from scaler_object_storage.values import Parts
from scaler_protocol import messages as m
from scaler_protocol.addresses import Address
from scaler_protocol.batch import F64, U8, U32, Status, column, pack_stored
from scaler_protocol.identifiers import new_id
from scaler_runtime.connection import Connection
from scaler_runtime.session import Identity, Up
from scaler_scheduler import storage_line
from scaler_scheduler.storage_line import StorageLine
from tests.integration.commands import PATIENCE_SECONDS, Command, free_address, is_alive, running, wait_until

pytestmark = pytest.mark.integration

ANY = "tcp://127.0.0.1:0"
OWNER = b"o" * 16


def folder_of(address):
    return user_folder() / directory_name(Address.from_string(str(address)))


def assert_no_folder(address):
    wait_until(lambda: not folder_of(address).exists(), lambda: f"{folder_of(address)} is left")


def assert_no_listener(address):
    """Fail if the port stays taken; it may be taken for as long as its owner takes to end."""

    def is_free():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", Address.from_string(str(address)).port))
            except OSError:
                return False
            return True

    wait_until(is_free, lambda: f"{address} is still taken")


class Line:
    """A scheduler's command with its object storage."""

    def __init__(self, address=ANY, *arguments, environment=None):
        self.command = Command("scaler_scheduler", address, *arguments, environment=environment)
        said = [self.command.wait_for_line(" listening on ") for _ in range(3)]
        where = dict(line.rsplit(" listening on ", 1) for line in said)
        self.address, self.storage = where["scheduler"], where["object storage"]

    @property
    def server(self):
        """The process of the object storage: the only one that is nobody's parent."""
        (found,) = [process for process in self.command.tree() if is_alive(process) and not process.children()]
        return found


@contextmanager
def line(*arguments, **options):
    made = Line(*arguments, **options)
    try:
        yield made
    finally:
        if made.command.process.poll() is None:
            made.command.stop()
        made.command.assert_nothing_left()


@pytest.fixture
def connect():
    context = zmq.Context()
    made = []

    def connect(address):
        made.append(
            ObjectStorageConnector(context, Address.from_string(str(address)), timeout_seconds=PATIENCE_SECONDS)
        )
        return made[-1]

    yield connect
    for connector in made:
        connector.close(0.0)
    context.destroy(0)


class Peer:
    """A connection to a scheduler in a thread's stead: pumped by whoever waits."""

    def __init__(self, address, role, **options):
        self.context = zmq.Context()
        self.identity = Identity(role, "test", **options)
        self.connection = Connection(self.context, Address.from_string(address), self.identity, 0.2)
        self.events = []

    def registered(self):
        return self.wait_for(Up).registered

    def wait_for(self, kind):
        def look():
            self.pump()
            return next((event for event in self.events if isinstance(event, kind)), None)

        return wait_until(look)

    def pump(self):
        now = time.monotonic()
        self.events += self.connection.pump(now)
        self.connection.flush(now)

    def close(self, reason=""):
        self.connection.close(reason, 1.0)
        self.context.term()


# ---- where it listens


def test_it_is_one_port_beside_the_scheduler_and_serves(connect):
    with line() as made:
        assert Address.from_string(made.storage).port == Address.from_string(made.address).port + 1
        connector = connect(made.storage)
        connector.put(b"key", OWNER, Parts.of(b"content"))
        assert bytes(connector.get(b"key")) == b"content"
    assert made.command.process.returncode == 0
    assert_no_folder(made.storage)
    assert_no_listener(made.storage)


def test_every_peer_is_told_where_it_is():
    with line() as made:
        for role in ("client", "worker", "host", "adapter"):
            peer = Peer(made.address, role)
            assert peer.registered().object_storage_address == made.storage
            peer.close("done")


def test_of_an_ipc_scheduler_it_has_a_longer_path(connect, tmp_path):
    with line(f"ipc://{tmp_path}/s") as made:
        assert made.storage == f"ipc://{tmp_path}/s_object_storage"
        connect(made.storage).put(b"key", OWNER, Parts.of(b"content"))
        peer = Peer(made.address, "client")
        assert peer.registered().object_storage_address == made.storage
        peer.close("done")
    assert not list(tmp_path.iterdir())


def test_a_peer_of_a_scheduler_that_listens_everywhere_is_sent_where_it_found_the_scheduler(connect):
    with line("tcp://0.0.0.0:0") as made:
        port = Address.from_string(made.address).port
        for host in ("localhost", "127.0.0.1"):
            peer = Peer(f"tcp://{host}:{port}", "client")
            told = peer.registered().object_storage_address
            assert told == f"tcp://{host}:{port + 1}"
            connect(told).wait_until_ready()
            peer.close("done")


def test_of_a_given_one_peers_are_told_and_none_is_started(connect):
    with running("scaler_object_storage", ANY) as storage:
        address = storage.wait_for_line("object storage listening on").split()[-1]
        command = Command("scaler_scheduler", ANY, "-osa", address)
        scheduler = command.wait_for_line("scheduler listening on").split()[-1]
        command.wait_for_line("monitor listening on")
        peer = Peer(scheduler, "client")

        assert peer.registered().object_storage_address == address
        assert len(command.tree()) == 1
        peer.close("done")
        assert command.stop() == 0
        assert "object storage listening" not in command.output
        connect(address).wait_until_ready()


@contextmanager
def taken_port():
    """Give a port that is taken, between two that are free and stay so."""
    port = Address.from_string(free_address()).port + 1
    with socket.create_server(("127.0.0.1", port)):
        yield port


def test_a_port_that_is_taken_is_one_line_and_exit_code_1():
    with taken_port() as port:
        command = Command("scaler_scheduler", f"tcp://127.0.0.1:{port - 1}")

        assert command.process.wait(PATIENCE_SECONDS) == 1
        command.assert_nothing_left()
        (said,) = command.lines
        assert f"tcp://127.0.0.1:{port}" in said
        assert "Address already in use" in said


# ---- how long it lives


def test_one_that_was_killed_is_started_again_and_finds_its_objects(connect):
    with line() as made:
        connector = connect(made.storage)
        connector.put(b"key", OWNER, Parts.of(b"content"))
        for _ in range(3):
            before = made.server
            before.kill()
            made.command.wait_for_line("it is started again")
            made.command.wait_for_line(f"serves at {made.storage} again")
            assert made.server.pid != before.pid
        assert connect(made.storage).get(b"key", wait=False) == b"content"
        assert connector.statistics().objects == 1
    assert_no_folder(made.storage)


def test_one_that_somebody_else_ends_is_started_again_too(connect):
    with line() as made:
        connect(made.storage).put(b"key", OWNER, Parts.of(b"content"))
        made.server.terminate()
        made.command.wait_for_line(f"serves at {made.storage} again")
        assert connect(made.storage).get(b"key", wait=False) == b"content"


def test_its_launcher_may_be_killed_as_well(connect):
    with line() as made:
        connect(made.storage).put(b"key", OWNER, Parts.of(b"content"))
        made.server.parent().kill()
        made.command.wait_for_line(f"serves at {made.storage} again")
        assert connect(made.storage).get(b"key", wait=False) == b"content"


def test_who_waits_for_an_object_goes_on_when_it_is_started_again(connect):
    with line() as made:
        found = []
        waiting = connect(made.storage)
        thread = threading.Thread(target=lambda: found.append(bytes(waiting.get(b"later"))))
        thread.start()
        wait_until(lambda: connect(made.storage).statistics().waiting)
        made.server.kill()
        made.command.wait_for_line("again")
        connect(made.storage).put(b"later", OWNER, Parts.of(b"content"))
        thread.join(PATIENCE_SECONDS)
        assert found == [b"content"]


def test_it_ends_with_a_scheduler_that_is_killed_and_the_next_finds_the_objects(connect):
    with line() as first:
        connect(first.storage).put(b"key", OWNER, Parts.of(b"content"))
        first.command.kill()
        assert folder_of(first.storage).exists()
    for _ in range(3):  # at once: the one before has hardly ended
        with line(first.address) as made:
            assert made.storage == first.storage
            assert connect(made.storage).get(b"key", wait=False) == b"content"
            made.command.tree()
            made.command.process.kill()
            made.command.process.wait()
    with line(first.address) as last:
        assert connect(last.storage).get(b"key", wait=False) == b"content"
    assert_no_folder(first.storage)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_orderly_end_leaves_nothing(connect, number):
    with line() as made:
        connect(made.storage).put(b"key", OWNER, Parts.of(b"content"))
        assert made.command.stop(number) == 0
    assert_no_folder(made.storage)
    assert_no_listener(made.storage)


def test_nothing_is_left_of_one_that_had_hardly_begun():
    for milliseconds in range(0, 100, 10):
        command = Command("scaler_scheduler", ANY)
        address = command.wait_for_line("scheduler listening on").split()[-1]
        time.sleep(milliseconds / 1000)  # at any moment of its beginning
        assert command.stop() == 0
        assert_no_folder(storage_beside(address))


def test_a_client_that_shuts_the_scheduler_down_ends_it_too(connect):
    with line() as made:
        connect(made.storage).put(b"key", OWNER, Parts.of(b"content"))
        made.command.tree()
        Client(made.address).shutdown()
        assert made.command.process.wait(PATIENCE_SECONDS) == 0
    assert_no_folder(made.storage)


def test_one_that_is_stopped_does_not_hold_up_the_scheduler():
    with line() as made:
        server = made.server
        server.suspend()
        began_at = time.monotonic()
        assert made.command.stop() == 0
        assert time.monotonic() - began_at < 10
        assert not is_alive(server)
    assert_no_folder(made.storage)


# ---- what the scheduler has removed


def test_who_takes_his_leave_frees_his_objects(connect):
    with line() as made:
        connector = connect(made.storage)
        for leaves, stays in ((True, False), (False, True)):
            peer = Peer(made.address, "client")
            peer.registered()
            owner = peer.identity.session_id
            connector.put(new_id(), owner, Parts.of(b"content"))
            wait_until(lambda owner=owner: any(share.owner == owner for share in connector.statistics().owners))
            peer.close("done" if leaves else "")
            if leaves:
                wait_until(lambda: not connector.statistics().owners)
            assert bool(connector.statistics().owners) is stays


def test_a_vanished_clients_objects_go_after_the_retention(connect):
    with line(ANY, "-ct", "1", "-ot", "1") as made:
        connector = connect(made.storage)
        peer = Peer(made.address, "client")
        peer.registered()
        connector.put(b"key", peer.identity.session_id, Parts.of(b"content"))
        peer.close()
        made.command.wait_for_line("silent for 1 seconds")
        assert connector.get(b"key", wait=False) == b"content"
        wait_until(lambda: not connector.statistics().objects)


def test_a_late_result_is_removed_even_if_the_storage_was_away(connect):
    with line() as made:
        connector = connect(made.storage)
        connector.put(b"a late key", OWNER, Parts.of(b"content"))
        connector.put(b"another", OWNER, Parts.of(b"content"))
        server = made.server
        server.suspend()
        worker = Peer(made.address, "worker")
        worker.registered()
        run = pack_stored(7, b"a late key")
        one = column(U32, [1])
        status, size = column(U8, [Status.STORED]), column(U32, [len(run)])
        late = m.TaskResults(99, OWNER, 1, column(U32, [0]), one, status, size, column(F64, [0.1]), run)
        worker.connection.send(late)
        worker.pump()
        server.kill()
        made.command.wait_for_line("again")
        wait_until(lambda: connector.statistics().objects == 1)
        assert connector.get(b"another", wait=False) == b"content"
        worker.close("done")


def test_what_is_to_be_removed_is_remembered_within_bounds(connect, tmp_path, monkeypatch):
    monkeypatch.setattr(storage_line, "MAX_KEYS", 4)
    monkeypatch.setattr(storage_line, "MAX_OWNERS", 2)
    address = f"ipc://{tmp_path}/storage"
    keys, owners = [b"key %d" % number for number in range(6)], [b"owner %d" % number for number in range(3)]
    first = Command("scaler_object_storage", address)
    first.wait_for_line("object storage listening on")
    connector = connect(address)
    for key in keys:
        connector.put(key, OWNER, Parts.of(b"content"))
    for owner in owners:
        connector.put(b"of " + owner, owner, Parts.of(b"content"))
    first.kill()

    async def remove():
        context = zmq.Context()
        line = StorageLine(context, Address.from_string(address))
        line.delete(keys)
        for owner in owners:
            line.delete_owner(owner)
        second = await asyncio.to_thread(Command, "scaler_object_storage", address)
        await line.close(PATIENCE_SECONDS)
        assert line.is_idle
        context.destroy(0)
        return second

    second = asyncio.run(remove())
    left = {key: bytes(connector.get(key, wait=False)) for key in (*keys[4:], b"of " + owners[2])}
    assert len(left) == connector.statistics().objects == 3
    assert second.stop() == 0


def test_the_figures_are_asked_for_again_and_again(connect, tmp_path):
    address = f"ipc://{tmp_path}/storage"

    async def ask():
        context = zmq.Context()
        line = StorageLine(context, Address.from_string(address))
        line.ask()  # nobody is there yet
        with running("scaler_object_storage", address):
            connector = connect(address)
            for number in range(1, 4):
                await asyncio.to_thread(connector.put, b"key %d" % number, OWNER, Parts.of(b"content"))
                deadline = time.monotonic() + PATIENCE_SECONDS
                while line.objects != number and time.monotonic() < deadline:
                    line.ask()
                    await asyncio.sleep(0.01)
                assert line.objects == number
                assert line.size > 0
            await line.close()
        context.destroy(0)

    asyncio.run(ask())


# ---- started from Python


def storage_beside(address):
    made = Address.from_string(address)
    return made.with_port(made.port + 1) if made.port else Address("ipc", f"{made.host}_object_storage")


@contextmanager
def nothing_left():
    before = set(psutil.Process().children(recursive=True))
    started = set()

    def note():
        started.update(set(psutil.Process().children(recursive=True)) - before)

    yield note
    wait_until(lambda: not any(map(is_alive, started)), lambda: f"left over: {list(filter(is_alive, started))}")


@pytest.mark.parametrize("how", ["shutdown", "garbage"])
def test_a_combo_has_one_that_ends_with_it(connect, how):
    with nothing_left() as note:
        combo = SchedulerClusterCombo(1, logging_level="WARNING")
        address = combo.get_address()
        connect(storage_beside(address)).put(b"key", OWNER, Parts.of(b"content"))
        note()
        if how == "shutdown":
            combo.shutdown()
        del combo
        gc.collect()
    assert_no_folder(storage_beside(address))
    assert_no_listener(storage_beside(address))


def test_a_combo_at_a_path(connect, tmp_path):
    with nothing_left() as note, SchedulerClusterCombo(1, address=f"ipc://{tmp_path}/s", logging_level="WARNING"):
        connect(f"ipc://{tmp_path}/s_object_storage").put(b"key", OWNER, Parts.of(b"content"))
        note()
    assert_no_folder(f"ipc://{tmp_path}/s_object_storage")


def test_a_combo_whose_storage_cannot_listen_says_so():
    busy = "127.0.0.1:{}.*Address already in use"
    with nothing_left(), taken_port() as port, pytest.raises(StartError, match=busy.format(port)):
        SchedulerClusterCombo(1, address=f"tcp://127.0.0.1:{port - 1}")


def test_a_combo_with_a_given_one_starts_none(connect):
    with running("scaler_object_storage", ANY) as storage, nothing_left() as note:
        address = storage.wait_for_line("object storage listening on").split()[-1]
        with SchedulerClusterCombo(1, object_storage_address=address, logging_level="WARNING") as combo:
            peer = Peer(combo.get_address(), "client")
            assert peer.registered().object_storage_address == address
            peer.close("done")
            note()
            assert not folder_of(storage_beside(combo.get_address())).exists()
        connect(address).wait_until_ready()


SCRIPT = """
import sys
from scaler import SchedulerClusterCombo
combo = SchedulerClusterCombo(1, logging_level="WARNING")
print(combo.get_address(), flush=True)
input()
"""


def listener_at(address):
    """Return the pid of who listens at an address."""
    (pid,) = {
        found.pid
        for found in psutil.net_connections("tcp")
        if found.status == psutil.CONN_LISTEN and found.laddr.port == Address.from_string(address).port
    }
    return pid


@pytest.mark.parametrize("who", ["script", "scheduler"])
def test_of_a_script_that_is_killed_nothing_is_left_but_of_its_scheduler_the_objects_are(connect, tmp_path, who):
    (tmp_path / "script.py").write_text(SCRIPT)
    script = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    address = script.stdout.readline().strip()
    storage = storage_beside(address)
    connect(storage).put(b"key", OWNER, Parts.of(b"content"))
    children = psutil.Process(script.pid).children(recursive=True)
    if who == "scheduler":
        scheduler = psutil.Process(listener_at(address))
        assert scheduler in children
        scheduler.kill()
        wait_until(lambda: not is_alive(scheduler))
        with line(address) as made:
            assert made.storage == str(storage)
            assert connect(storage).get(b"key", wait=False) == b"content"
    script.kill()
    script.communicate(timeout=PATIENCE_SECONDS)
    wait_until(lambda: not any(map(is_alive, children)), lambda: f"left over: {list(filter(is_alive, children))}")
    assert_no_folder(storage)
    assert_no_listener(storage)


def scheduler_process(address, storage=None):
    return SchedulerProcess(
        ZMQConfig.from_string(address),
        None if storage is None else ObjectStorageAddressConfig.from_string(storage),
        None,
        io_threads=1,
        max_number_of_tasks_waiting=-1,
        client_timeout_seconds=60,
        worker_timeout_seconds=60,
        object_retention_seconds=60,
        load_balance_seconds=1,
        load_balance_trigger_times=2,
        protected=False,
        policy=PolicyConfig(),
        event_loop="builtin",
        logging_paths=("-",),
        logging_config_file=None,
        logging_level="WARNING",
    )


def test_a_scheduler_process_has_one_too(connect):
    with nothing_left() as note, scheduler_process(ANY) as process:
        storage = storage_beside(process.wait_listening())
        connect(storage).put(b"key", OWNER, Parts.of(b"content"))
        note()
    assert_no_folder(storage)
    assert process.exitcode == 0


def test_a_scheduler_run_in_a_program_with_threads_has_one_as_well(connect, tmp_path):
    program = f"""
import threading
from scaler.cluster.scheduler import Scheduler
from scaler_protocol.addresses import Address
from scaler_scheduler.config import SchedulerConfig
threading.Thread(target=threading.Event().wait, daemon=True).start()
Scheduler(SchedulerConfig(Address.from_string("ipc://{tmp_path}/s"))).run()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    said = [process.stdout.readline() for _ in range(3)]
    assert f"object storage listening on ipc://{tmp_path}/s_object_storage\n" in said
    connect(f"ipc://{tmp_path}/s_object_storage").wait_until_ready()
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    assert process.wait(PATIENCE_SECONDS) == 0
    process.stdout.close()
    assert not any(map(is_alive, children))
    assert_no_folder(f"ipc://{tmp_path}/s_object_storage")
