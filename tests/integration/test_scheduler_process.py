"""The scheduler's command behind its real socket, spoken to by peers that are only a connection."""

import pickle
import select
import signal
import time

import pytest
import zmq

from scaler_protocol import messages as m
from scaler_protocol.addresses import Address
from scaler_protocol.batch import F64, U8, U32, Encoding, Status, column
from scaler_runtime.connection import Connection
from scaler_runtime.session import Identity, Incoming, Rejected, Up
from tests.integration.commands import Command, scheduler, wait_until

pytestmark = pytest.mark.integration


class Peer:
    """A connection that is pumped by the test itself."""

    def __init__(self, context, address, role):
        self.connection = Connection(context, Address.from_string(address), Identity(role, "test"), 2.0)
        self.events = []

    def wait_for(self, found):
        """Return the first event for which `found` is true, in the order they come."""
        poll = select.poll()
        for descriptor in self.connection.filenos():
            poll.register(descriptor, select.POLLIN)

        def look():
            for index, event in enumerate(self.events):
                if found(event):
                    del self.events[: index + 1]
                    return event
            now = time.monotonic()
            self.events += self.connection.pump(now)
            if not self.connection.flush(now):
                poll.poll(20)
            return None

        return wait_until(look, lambda: f"not among {self.events}")

    def up(self):
        return self.wait_for(lambda event: isinstance(event, Up))

    def message(self, kind):
        return self.wait_for(lambda event: isinstance(event, Incoming) and isinstance(event.message, kind)).message


@pytest.fixture
def context():
    context = zmq.Context()
    yield context
    context.destroy(0)


def batch(batch_id, numbers):
    payload = pickle.dumps(numbers)
    return m.SubmitBatch(
        batch_id,
        b"f" * 16,
        len(numbers),
        Encoding.VALUES,
        column(U32, [len(numbers)]),
        column(U32, [len(payload)]),
        payload,
    )


def test_a_task_travels_from_a_client_to_a_worker_and_back(context):
    with scheduler() as (_, address):
        client, worker = Peer(context, address, "client"), Peer(context, address, "worker")
        assert client.up().fresh
        client.connection.send(m.DefineFunction(b"f" * 16, "f", b"code"))
        client.connection.send(batch(1, [10]))
        client.connection.flush(time.monotonic())
        worker.up()
        worker.connection.send(m.WorkerHello("Worker|w|1", 1, b"h" * 16, "", 10, 1, {}))

        assert worker.message(m.DefineFunction).payload == b"code"
        assigned = worker.message(m.AssignSlice)
        assert (assigned.start, assigned.stop, pickle.loads(assigned.payload)) == (0, 1, [10])
        one = column(U32, [1])
        worker.connection.send(
            m.TaskResults(
                assigned.slice_id,
                assigned.client_id,
                1,
                column(U32, [0]),
                one,
                column(U8, [Status.VALUES]),
                column(U32, [6]),
                column(F64, [0.1]),
                b"result",
            )
        )
        worker.connection.flush(time.monotonic())

        assert client.message(m.TaskResults).payload == b"result"


def test_what_is_said_while_the_scheduler_is_stopped_arrives_when_it_goes_on(context):
    with scheduler() as (command, address):
        client = Peer(context, address, "client")
        client.up()
        command.process.send_signal(signal.SIGSTOP)
        client.connection.send(m.RequestShutdown())
        client.connection.flush(time.monotonic())
        command.process.send_signal(signal.SIGCONT)

        client.message(m.Shutdown)
        assert command.process.wait(30) == 0


def test_a_peer_of_another_protocol_version_gets_and_gives_one_clear_line(context, monkeypatch):
    monkeypatch.setattr(m, "PROTOCOL_VERSION", 99)
    with scheduler() as (_, address):
        stranger = Peer(context, address, "client")

        rejected = stranger.wait_for(lambda event: isinstance(event, Rejected))

        assert "protocol 99" in rejected.reason
        assert "install the same version" in rejected.reason


def test_garbage_is_dropped_and_others_are_served(context):
    with scheduler() as (command, address):
        stranger = context.socket(zmq.DEALER)
        stranger.connect(address)
        for frames in ([b""], [b"x" * 8], [b"\xff" * 4096], [b"", b"", b""]):
            stranger.send_multipart(frames)
        command.wait_for_line("malformed message")

        assert Peer(context, address, "client").up().fresh


def test_a_port_that_is_taken_is_one_line_and_exit_code_1():
    with scheduler() as (_, address):
        second = Command("scaler_scheduler", address)

        assert second.process.wait(30) == 1
        second.assert_nothing_left()
        (line,) = second.lines
        assert address in line
        assert "in use" in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_exit_code_0(number):
    command = Command("scaler_scheduler", "tcp://127.0.0.1:0")
    command.wait_for_line("scheduler listening on")

    assert command.stop(number) == 0
