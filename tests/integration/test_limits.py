"""What a scheduler does at the end of its means: no descriptor left, a peer's connection that brings spoilt bytes."""

import contextlib
import logging
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
import zmq

from scaler import Client
from scaler_protocol import codec
from scaler_protocol import messages as m
from scaler_protocol.addresses import Address
from scaler_runtime.connection import Connection
from scaler_runtime.gate import Gate
from scaler_runtime.session import Identity, Incoming, Up
from scaler_runtime.sessions import Patience, Sessions
from scaler_runtime.transport import RouterSocket, SendResult
from tests.fuzz.wire import Wire
from tests.integration.commands import Command, running, wait_until

pytestmark = pytest.mark.integration

LIMITED = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64));"
    "from runpy import run_module; module = sys.argv.pop(1); run_module(module, run_name='__main__')"
)


def double(value):
    return 2 * value


def open_connections(address, number):
    place = Address.from_string(address)
    opened = []
    for _ in range(number):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex((place.host, place.port))
        opened.append(one)
    return opened


def busy_seconds(process, seconds):
    before = process.cpu_times()
    time.sleep(seconds)
    after = process.cpu_times()
    return after.user + after.system - before.user - before.system


def test_without_a_free_descriptor_those_that_are_there_are_served_and_others_later():
    scheduler = Command("scaler_scheduler", "tcp://127.0.0.1:0", program=(sys.executable, "-c", LIMITED))
    address = scheduler.wait_for_line("scheduler listening on").split()[-1]
    process = psutil.Process(scheduler.process.pid)
    with running("scaler_adapter_fixed_native", address, "--max-workers", 1), Client(address) as client:
        assert client.submit(double, 1).result() == 2
        opened = open_connections(address, 100)
        scheduler.wait_for_line("no file descriptor is left, the limit is 64")
        assert client.map(double, range(100)) == [2 * number for number in range(100)]
        assert busy_seconds(process, 1.0) < 0.5, "it spins"
        for one in opened:
            one.close()

        with Client(address, timeout_seconds=30) as late:
            assert late.submit(double, 4).result() == 8
        wait_until(lambda: process.num_fds() < 50)
    assert scheduler.stop() == 0


def test_a_scheduler_that_was_stopped_for_long_takes_nobody_for_dead():
    scheduler = Command("scaler_scheduler", "tcp://127.0.0.1:0", "--worker-timeout-seconds", 1)
    address = scheduler.wait_for_line("scheduler listening on").split()[-1]
    fixed = ("scaler_adapter_fixed_native", address, "--max-workers", 1, "--heartbeat-interval-seconds", 1)
    with running(*fixed), Client(address) as client:
        assert client.submit(double, 1).result() == 2
        scheduler.process.send_signal(signal.SIGSTOP)
        time.sleep(5.0)
        scheduler.process.send_signal(signal.SIGCONT)
        assert client.map(double, range(100)) == [2 * number for number in range(100)]
        time.sleep(1.5)  # nothing is to happen
        assert "is gone" not in scheduler.output
    assert scheduler.stop() == 0


NOT_READING = """
import sys, time, zmq
from scaler_protocol.addresses import Address
from scaler_runtime.transport import RouterSocket

context = zmq.Context()
router = RouterSocket(context, Address.from_string("tcp://127.0.0.1:0"), high_water_mark=10)
print(router.address, flush=True)
time.sleep(5)
router.close()
context.term()
"""


def test_a_connection_that_ends_while_nobody_reads_ends_no_process():
    process = subprocess.Popen([sys.executable, "-c", NOT_READING], stdout=subprocess.PIPE, text=True)
    address = process.stdout.readline().strip()
    with Wire(address) as wire:
        wire.greet()
        wire.socket.settimeout(1)
        with contextlib.suppress(OSError):  # nothing more is taken
            for _ in range(100_000):
                wire.frame(bytes(1000))

    assert process.wait(30) == 0
    process.stdout.close()


class Line:
    """A table of sessions and one peer over real sockets; `spoil` says which packets to the peer arrive damaged."""

    def __init__(self, path):
        self.context = zmq.Context()
        address = Address.from_string(f"ipc://{path}")
        self.router = RouterSocket(self.context, address)
        self.table = Sessions(b"i" * 16, {"client": Patience(60, None)}, max_unfinished_tasks=1, max_unfinished_bytes=1)
        self.peer = Connection(self.context, address, Identity("client", "test"), None)
        self.spoil = lambda _packet: False
        self.events = []

    def until(self, reached):
        def turn():
            now = time.monotonic()
            self.router.lost_connections()
            while (received := self.router.receive(self.table.knows)) is not None:
                self.table.receive(received[0], codec.decode(received[1]), now)
            for route, packet in list(self.table.outgoing()):
                frames = codec.encode(packet)
                if self.spoil(packet):
                    frames[0] = b"\xff" * len(frames[0])
                assert self.router.send(route, frames) is SendResult.SENT
            self.events += self.peer.pump(now)
            self.peer.flush(now)
            return reached()

        wait_until(turn, lambda: f"{self.events}")

    def close(self):
        self.peer.close()
        self.router.close()
        self.context.destroy(0)


def test_a_peer_that_gets_spoilt_bytes_hears_everything_all_the_same(tmp_path, caplog):
    line = Line(tmp_path / "s")
    spoilt = []

    def spoil(packet):
        if packet.first_sequence == 3 and not spoilt:
            spoilt.append(packet)
            return True
        return False

    line.spoil = spoil
    try:
        line.until(lambda: any(isinstance(event, Up) for event in line.events))
        for number in range(1, 6):
            line.table.send(line.peer.session.identity.session_id, m.Notice(str(number), ""))
            line.until(lambda: True)
        heard = lambda: [e.message.cause for e in line.events if isinstance(e, Incoming)]  # noqa: E731
        line.until(lambda: len(heard()) >= 5)

        assert heard() == ["1", "2", "3", "4", "5"]
        assert spoilt
        assert line.peer.dropped == 1
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
    finally:
        line.close()


def test_a_gate_knows_its_connections(tmp_path):
    context = zmq.Context()
    bound, peer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    gate = Gate(bound)
    bound.bind(f"ipc://{tmp_path}/s")
    peer.connect(f"ipc://{tmp_path}/s")
    peer.send(b"x")
    wait_until(lambda: gate.lost_connections() == [] and gate.watch_at is not None)
    assert list(gate.watch(0.0)) == []
    peer.close(0)
    lost = []
    wait_until(lambda: lost.extend(gate.lost_connections()) or lost)

    assert len(lost) == 1
    assert gate.watch_at is None
    gate.close()
    bound.close(0)
    context.term()
