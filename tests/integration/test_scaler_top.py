"""`scaler_top` as a user runs it: in a terminal, into a pipe, at a wrong address."""

import contextlib
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
import zmq

from scaler_protocol import codec
from scaler_protocol import messages as m
from scaler_protocol.addresses import Address
from scaler_runtime.transport import PubSocket
from tests.integration.commands import Command, running, wait_until
from tests.integration.terminal import ALTERNATE_SCREEN, NORMAL_SCREEN, VISIBLE_CURSOR, in_terminal
from tests.integration.test_scheduler_process import Peer
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


@pytest.fixture(scope="module")
def monitor():
    """Give the monitor's address of a scheduler that nobody else uses."""
    with scheduler() as (_, monitor):
        yield monitor


@contextlib.contextmanager
def scheduler(*arguments):
    """Run a scheduler; gives its address and its monitor's."""
    with running("scaler_scheduler", ANY, *arguments) as command:
        address = command.wait_for_line("scheduler listening on").split()[-1]
        yield address, command.wait_for_line("monitor listening on").split()[-1]


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


def test_in_a_terminal_it_shows_the_table_and_reacts_to_keys(monitor):
    with in_terminal(TOP, monitor) as top:
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
def test_a_signal_ends_it_and_the_terminal_is_as_before(monitor, number):
    with in_terminal(TOP, monitor) as top:
        top.wait_for("Total")
        top.command.send_signal(number)
        top.command.send_signal(number)

        assert top.wait() == 0
        assert_restored(top)


def test_control_c_ends_it(monitor):
    with in_terminal(TOP, monitor) as top:
        top.wait_for("Total")
        top.type("\x03")

        assert top.wait() == 0
        assert_restored(top)


def test_suspended_it_gives_the_terminal_back_and_takes_it_again(monitor):
    with in_terminal(TOP, monitor) as top:
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


def test_a_terminal_that_cannot_be_drawn_on_gets_plain_tables(monitor):
    with in_terminal(TOP, monitor, term="dumb") as top:
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
