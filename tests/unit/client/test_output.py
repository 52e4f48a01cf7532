"""Writing what tasks wrote, and when outcomes may follow it."""

import io
import sys
import threading

import pytest

from scaler_client.output import HOLD_BYTES, RESUME_BYTES, Output, write
from scaler_protocol.batch import Status
from scaler_protocol.messages import TaskResults

SECONDS = 10


class Slow(io.RawIOBase):
    """A terminal that takes nothing before it is let go on, and then only a few bytes at once."""

    def __init__(self):
        self.goes_on = threading.Event()
        self.data = b""

    def writable(self):
        return True

    def write(self, data):
        assert self.goes_on.wait(SECONDS)
        part = bytes(data[: 1 << 20])
        self.data += part
        return len(part)


@pytest.fixture
def terminal(monkeypatch):
    """Give a function that makes a slow terminal the standard output; a fixture could not: it is captured later."""
    slow = Slow()

    def stand_in():
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(slow, write_through=True))
        return slow

    yield stand_in
    slow.goes_on.set()


def outcome(number, status=Status.VALUE):
    """Return the results of one task; the columns that nobody looks at here are empty."""
    return TaskResults(0, b"", number, b"", b"", bytes([status]), b"", b"", b"")


@pytest.fixture
def output():
    woken = threading.Event()
    output = Output(woken.set)
    output.woken = woken
    yield output
    output.close()
    output.finish(SECONDS)
    assert not [thread for thread in threading.enumerate() if thread.name == "scaler-output"]


def test_bytes_arrive_as_they_are_and_behind_what_the_program_wrote(capfdbinary):
    sys.stdout.write("before ")
    write(sys.stdout, b"\xff\x00")
    assert capfdbinary.readouterr().out == b"before \xff\x00"


def test_a_stream_of_text_gets_text(monkeypatch):
    text = io.StringIO()
    write(text, "€".encode() + b"\xff")
    assert text.getvalue() == "€�"


@pytest.mark.parametrize("stream", [None, object(), io.StringIO()])
def test_a_stream_that_cannot_be_written_to_is_no_failure(stream):
    if stream is not None and hasattr(stream, "close"):
        stream.close()
    write(stream, b"x")


def test_outcomes_wait_until_what_came_before_is_written(output, terminal):
    slow = terminal()
    assert not output.delays(outcome(0))
    output.put(b"first", is_error=False)
    assert output.delays(outcome(1))
    output.put(b"second", is_error=False)
    assert output.delays(outcome(2))
    assert output.due() == []
    slow.goes_on.set()
    due = []
    while len(due) < 2:
        assert output.woken.wait(SECONDS)
        output.woken.clear()
        due += output.due()
    assert due == [outcome(1), outcome(2)]
    assert slow.data == b"firstsecond"
    assert not output.delays(outcome(3))


def test_cancelled_tasks_wait_for_nothing(output, terminal):
    terminal()
    output.put(b"x", is_error=False)
    assert not output.delays(outcome(0, Status.CANCELLED))


def test_at_the_end_outcomes_wait_no_more(output, terminal):
    terminal()
    output.put(b"x", is_error=False)
    assert output.delays(outcome(0))
    assert output.due(at_once=True) == [outcome(0)]


def test_slowness_is_told_and_its_end(output, terminal):
    slow = terminal()
    half = b"x" * (HOLD_BYTES // 2)
    output.put(half, is_error=False)
    assert not output.is_slow
    output.put(half + b"x", is_error=False)
    assert output.is_slow
    slow.goes_on.set()
    while output.is_slow:
        assert output.woken.wait(SECONDS)
        output.woken.clear()
    assert output._taken - output._written <= RESUME_BYTES
