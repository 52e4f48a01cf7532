"""The feed of a real scheduler: what is in it, where it is, and who is told."""

import asyncio
import contextlib
import socket
import time

import pytest
import zmq

from scaler_client.client import Client
from scaler_object_storage.connector import ObjectStorageConnector
from scaler_object_storage.values import dump_value
from scaler_protocol import messages as m
from scaler_protocol.addresses import Address
from scaler_runtime.transport import BindError, PubSocket, SubSocket, can_bind
from scaler_scheduler import listening as listening_module
from scaler_scheduler.config import SchedulerConfig
from scaler_scheduler.core.state import State
from scaler_scheduler.listening import listen
from scaler_scheduler.monitor import Monitor
from scaler_scheduler.storage_line import StorageLine
from tests.integration.commands import Command, running, wait_until
from tests.integration.monitor_feed import Subscriber
from tests.integration.test_scheduler_process import Peer, batch

pytestmark = pytest.mark.integration

ANY = "tcp://127.0.0.1:0"
TOP = "scaler_scheduler.top"
WORKER = "Worker|NAT|" + "1" * 32 + "|" + "2" * 32


@pytest.fixture
def context():
    context = zmq.Context()
    yield context
    context.destroy(0)


@contextlib.contextmanager
def scheduler(*arguments):
    """Run a scheduler; gives its address and its monitor's."""
    with running("scaler_scheduler", ANY, *arguments) as command:
        address = command.wait_for_line("scheduler listening on").split()[-1]
        yield address, command.wait_for_line("monitor listening on").split()[-1]


# ---- the feed


def test_the_feed_is_two_ports_beside_the_scheduler_and_reports_every_second(context):
    with scheduler() as (address, monitor):
        assert Address.from_string(monitor).port == Address.from_string(address).port + 2
        subscriber = Subscriber(context, monitor)
        first, began = subscriber.report(), time.monotonic()
        subscriber.report()

        assert 0.5 < time.monotonic() - began < 10
        assert first.rss > 1 << 20
        assert first.workers == []


def test_clients_workers_and_messages_are_seen_in_it(context):
    with scheduler() as (address, monitor):
        client, host, peer = (Peer(context, address, role) for role in ("client", "host", "worker"))
        for one in (client, host, peer):
            one.up()
        host_id = host.connection.session.identity.session_id
        entry = m.WorkerReport(WORKER, "g-1", 1, 1, "running", 50.0, 1 << 20, has_task=True)
        say(host, m.HostReport([entry], 2.5, 1 << 21, 1 << 33, 0.004))
        say(peer, m.WorkerHello(WORKER, 1, host_id, "g-1", 10, 1, {}))
        say(client, m.DefineFunction(b"f" * 16, "f", b"code"), batch(1, [10]))
        peer.message(m.AssignSlice)

        made = Subscriber(context, monitor).report_where(lambda made: made.workers and made.clients)

        (row,) = made.workers
        assert (row.worker_id, row.group_id, row.cpu, row.host_cpu) == (WORKER, "g-1", 50.0, 2.5)
        assert (row.outstanding, row.places, row.initialised, row.has_task) == (1, 9, True, True)
        assert row.lag_seconds == 0.002
        assert made.clients[0].count == 1
        assert {"Registered", "AssignSlice"} <= {item.name for item in made.sent}
        assert {"Register", "SubmitBatch", "HostReport"} <= {item.name for item in made.received}


def test_real_workers_have_figures(context, tmp_path):
    done = tmp_path / "done"

    def work():
        while not done.exists():
            sum(range(1000))
        return 1

    with scheduler() as (address, monitor), running("scaler_cluster", address, "-n", 2, "-his", 1):
        with Client(address) as client:
            futures = [client.submit(work) for _ in range(2)]

            def all_busy(made):
                return len(made.workers) == 2 and all(row.cpu > 5 and row.has_task for row in made.workers)

            made = Subscriber(context, monitor).report_where(all_busy)
            done.touch()
            assert [future.result() for future in futures] == [1, 1]
        for row in made.workers:
            assert row.worker_id.startswith("Worker|")
            assert min(row.rss, row.host_rss, row.free_memory) > 1 << 20
            assert (row.initialised, row.has_task, row.task_lock, row.outstanding) == (True, True, True, 1)
            assert row.silent_seconds < 30
        Subscriber(context, monitor).report_where(lambda made: all(row.lag_seconds > 0 for row in made.workers))


def test_nothing_is_made_while_nobody_listens(context, tmp_path, monkeypatch):
    async def run():
        monitor_socket = PubSocket(context, Address.from_string(f"ipc://{tmp_path}/monitor"))
        monitor = Monitor(monitor_socket, State(), FakeServer(), StorageLine(context, monitor_socket.address))
        made = []
        figures = monitor._figures
        monkeypatch.setattr(monitor, "_figures", lambda: made.append(1) or figures())
        monitor.start()
        try:
            assert monitor._timer is None
            subscriber = SubSocket(context, monitor_socket.address)
            await until(lambda: made)
            assert monitor._timer is not None
            subscriber.close()
            await until(lambda: monitor._timer is None)
            reports = len(made)
            again = SubSocket(context, monitor_socket.address)
            await until(lambda: len(made) > reports)
            again.close()
        finally:
            monitor.close()

    asyncio.run(run())


def test_a_subscriber_that_says_something_else_is_ignored(context):
    with scheduler() as (address, monitor):
        stranger = context.socket(zmq.XSUB)
        stranger.connect(monitor)
        for frames in ([b"\x01topic"], [b"\x02garbage"], [b"\x00"], [b"", b"\x01"], [b"\x01" + b"x" * 5000]):
            stranger.send_multipart(frames)

        assert Subscriber(context, monitor).report().workers == []
        assert Peer(context, address, "client").up().fresh


def test_the_object_storage_is_asked_for_what_it_holds(context):
    with running("scaler_object_storage", ANY) as storage:
        address = storage.wait_for_line("object storage listening on").split()[-1]
        connector = ObjectStorageConnector(context, Address.from_string(address))
        connector.put(b"key", b"owner", dump_value(bytes(100_000)))
        with scheduler("-osa", address) as (_, monitor):
            made = Subscriber(context, monitor).report_where(lambda made: made.objects)

            assert made.objects == 1
            assert made.object_bytes >= 100_000
        connector.close()


def test_a_heartbeat_round_trip_is_measured(context):
    with scheduler() as (address, _):
        host = Peer(context, address, "host")
        host.up()

        def look():
            host.connection.pump(time.monotonic())
            host.connection.flush(time.monotonic())
            return host.connection.round_trip_seconds

        assert 0 < wait_until(look) < 5


# ---- where it listens


def test_an_ipc_scheduler_has_its_feed_at_a_longer_path(context, tmp_path):
    with running("scaler_scheduler", f"ipc://{tmp_path}/s") as command:
        line = command.wait_for_line("monitor listening on")

        assert line == f"monitor listening on ipc://{tmp_path}/s_monitor"
        assert Subscriber(context, line.split()[-1]).report().workers == []


def test_a_given_address_is_used(context, tmp_path):
    with scheduler("-ma", f"ipc://{tmp_path}/m") as (_, monitor):
        assert monitor == f"ipc://{tmp_path}/m"
    with scheduler("--monitor-address", ANY) as (_, monitor):
        assert Subscriber(context, monitor).report().workers == []


def test_a_monitor_port_that_is_taken_is_one_line_and_exit_code_1():
    with scheduler() as (_, monitor):
        second = Command("scaler_scheduler", ANY, "-ma", monitor)

        assert second.process.wait(30) == 1
        second.assert_nothing_left()
        (line,) = second.lines
        assert monitor in line
        assert "in use" in line


def test_a_base_port_is_chosen_whose_derived_ports_are_free(context, monkeypatch):
    answers = [False, False, True]
    asked = []
    monkeypatch.setattr(listening_module, "can_bind", lambda address: asked.append(address) or answers[len(asked) - 1])

    listening = listen(context, SchedulerConfig(Address.from_string(ANY)))

    base = listening.scheduler.address.port
    assert listening.object_storage_address.port == base + 1
    assert listening.monitor.address.port == base + 2
    assert asked[-1] == listening.object_storage_address
    assert len(asked) == 3
    listening.close()


def test_it_gives_up_where_no_derived_port_is_free(context, monkeypatch):
    monkeypatch.setattr(listening_module, "can_bind", lambda _: False)

    with pytest.raises(BindError, match="for the object storage"):
        listen(context, SchedulerConfig(Address.from_string(ANY)))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_port_somebody_listens_on_cannot_be_bound(host):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("tcp", host, taken.getsockname()[1])
        assert not can_bind(address)
    assert can_bind(address)
    assert can_bind(Address("ipc", "/anywhere"))
    assert not can_bind(Address("tcp", "198.51.100.1", 1))


def say(peer, *messages):
    for message in messages:
        peer.connection.send(message)
    peer.connection.flush(time.monotonic())


async def until(condition, seconds=30):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the monitor tells nobody
            await asyncio.sleep(0.01)


class FakeServer:
    dropped = 0
    sent: dict = {}  # noqa: RUF012 - nothing is written to it
    received: dict = {}  # noqa: RUF012 - the same
