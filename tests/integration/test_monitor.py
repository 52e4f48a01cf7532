"""The feed of a real scheduler, and `scaler_top` as a user runs it: in a terminal, into a pipe, at a wrong address."""

import asyncio
import contextlib
import re
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
import zmq

from scaler_client.client import Client
from scaler_object_storage.connector import ObjectStorageConnector
from scaler_object_storage.values import dump_value
from scaler_protocol import codec
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
from tests.integration.terminal import ALTERNATE_SCREEN, NORMAL_SCREEN, VISIBLE_CURSOR, in_terminal
from tests.integration.test_scheduler_process import Peer, batch
from tests.unit.scheduler.top.builders import report, worker

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


# ---- scaler_top


def test_into_a_pipe_every_report_is_one_plain_table(context):
    with scheduler() as (address, monitor), running(TOP, monitor) as top:
        peer = Peer(context, address, "worker")
        peer.up()
        say(peer, m.WorkerHello(WORKER, 1, b"h" * 16, "g-1", 10, 1, {}))
        row = top.wait_for_line(WORKER)

        assert row.split()[0] == "g-1"
        top.wait_for_line("task_manager")
        top.wait_for_line("group")
        assert "\x1b" not in top.output
        assert top.stop(signal.SIGINT) == 0


def test_a_reader_that_has_enough_ends_it():
    with scheduler() as (_, monitor):
        top = subprocess.Popen(
            [sys.executable, "-m", TOP, monitor], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        top.stdout.readline()
        top.stdout.close()

        assert top.wait(30) == 0
        assert top.stderr.read() == ""
        top.stderr.close()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "ipc:///nobody/is/here"])
def test_a_wrong_address_is_one_line_and_exit_code_1_after_the_timeout(address):
    began = time.monotonic()
    top = Command(TOP, address, "--timeout", 1)

    assert top.process.wait(30) == 1
    assert time.monotonic() - began >= 1
    top.assert_nothing_left()
    (line,) = top.lines
    assert line.startswith("scaler_top: no message")
    assert address in line


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "monitor_address is missing"),
        (["localhost:8518"], "tcp://host:port"),
        (["tcp://127.0.0.1:0"], "a port from 1 on"),
        (["tcp://127.0.0.1:1", "-t", "0"], "timeout must be a whole number >= 1"),
        (["tcp://127.0.0.1:1", "--time", "1"], "--timeout"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(arguments, part):
    top = Command(TOP, *arguments)

    assert top.process.wait(30) == 2
    top.assert_nothing_left()
    (line,) = top.lines
    assert part in line


def test_a_scheduler_that_ends_is_noticed():
    with scheduler() as (_, monitor):
        top = Command(TOP, monitor, "-t", 2)
        top.wait_for_line("Total")

    assert top.process.wait(30) == 1
    top.assert_nothing_left()
    assert "within 2 seconds" in top.lines[-1]


def test_what_is_not_a_report_is_dropped(context, tmp_path):
    publisher = PubSocket(context, Address.from_string(f"ipc://{tmp_path}/m"))
    with running(TOP, publisher.address) as top:
        wait_until(publisher.subscription_changes)
        for frame in (b"", bytes(64), b"\xff" * 4096):
            publisher.send(frame)
        publisher.send(codec.encode_monitor(report(worker(WORKER))))

        top.wait_for_line(WORKER)
        assert top.output.count("Total") == 1
    publisher.close()


def test_only_garbage_is_as_good_as_silence(context, tmp_path):
    publisher = PubSocket(context, Address.from_string(f"ipc://{tmp_path}/m"))
    top = Command(TOP, publisher.address, "-t", 1)

    def publish():
        publisher.subscription_changes()
        publisher.send(b"\xff" * 64)
        return top.process.poll()

    assert wait_until(publish) == 1
    top.assert_nothing_left()
    publisher.close()


def test_in_a_terminal_it_shows_the_table_and_reacts_to_keys():
    with scheduler() as (_, monitor), in_terminal(TOP, monitor) as top:
        top.wait_for("[cpu]", top.wait_for("task_manager", top.wait_for(ALTERNATE_SCREEN)))
        assert top.mode() != top.mode_before

        position = top.wait_for("[lag]", top.type("l"))
        assert "[cpu]" not in plain(top.drawn[position:])
        top.wait_for("[worker]", top.type("n"))
        top.type("\x1b[C")  # an arrow, not a C
        top.wait_for("[group]", top.type("g"))
        assert "[agt_cpu]" not in plain(top.drawn)

        top.type("q")
        assert top.wait() == 0
        assert_restored(top)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_it_and_the_terminal_is_as_before(number):
    with scheduler() as (_, monitor), in_terminal(TOP, monitor) as top:
        top.wait_for("Total")
        top.command.send_signal(number)
        top.command.send_signal(number)

        assert top.wait() == 0
        assert_restored(top)


def test_control_c_ends_it():
    with scheduler() as (_, monitor), in_terminal(TOP, monitor) as top:
        top.wait_for("Total")
        top.type("\x03")

        assert top.wait() == 0
        assert_restored(top)


def test_suspended_it_gives_the_terminal_back_and_takes_it_again():
    with scheduler() as (_, monitor), in_terminal(TOP, monitor) as top:
        top.wait_for("Total")
        position = top.type("\x1a")
        wait_until(lambda: top.command.status() == psutil.STATUS_STOPPED)
        assert top.mode() == top.mode_before
        position = top.wait_for(NORMAL_SCREEN, position)

        top.command.send_signal(signal.SIGCONT)
        top.wait_for("Total", top.wait_for(ALTERNATE_SCREEN, position))
        top.type("q")
        assert top.wait() == 0
        assert_restored(top)


def test_silence_in_a_terminal_is_one_line_on_the_usual_screen():
    with in_terminal(TOP, "tcp://127.0.0.1:9", "-t", "1") as top:
        assert top.wait() == 1
        after = top.drawn[top.wait_for(NORMAL_SCREEN) :]
        assert "no message from a monitor" in after
        assert "Traceback" not in after
        assert_restored(top)


def test_a_terminal_that_cannot_be_drawn_on_gets_plain_tables():
    with scheduler() as (_, monitor), in_terminal(TOP, monitor, term="dumb") as top:
        top.wait_for("task_manager")
        assert "\x1b" not in top.drawn


def assert_restored(top):
    assert top.mode() == top.mode_before
    wait_until(lambda: NORMAL_SCREEN in top.drawn and VISIBLE_CURSOR in top.drawn)
    assert top.drawn.rindex(NORMAL_SCREEN) > top.drawn.rindex(ALTERNATE_SCREEN)


def plain(drawn):
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn)


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
