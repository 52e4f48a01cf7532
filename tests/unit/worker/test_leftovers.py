"""What a host finds of a process that is gone. Together with the process's end: test_output.py."""

import os

import pytest

from scaler_protocol.messages import TaskOutput
from scaler_runtime.stderr_relay import TAIL_BYTES
from scaler_worker.leftovers import CHUNK_BYTES, Leftovers, Tail


@pytest.fixture
def pipes():
    """Make both pipes of a process; gives (reading ends, writing ends)."""
    ends = [os.pipe2(os.O_NONBLOCK) for _ in range(2)]
    reads, writes = zip(*ends, strict=True)
    yield reads, writes
    for write in writes:
        os.close(write)


def test_much_is_sent_in_pieces(pipes):
    reads, writes = pipes
    tail = Tail()
    leftovers = Leftovers(b"client", [*reads, tail.descriptor])
    os.write(writes[0], b"x" * CHUNK_BYTES)
    os.write(writes[1], b"y" * 10)
    messages, last = leftovers.take()
    assert messages == [TaskOutput(b"client", False, b"x" * CHUNK_BYTES), TaskOutput(b"client", True, b"y" * 10)]
    assert last is None
    leftovers.close()


def test_the_tail_is_bounded_and_has_what_came_last(pipes):
    reads, writes = pipes
    tail = Tail()
    tail.set_active(is_active=True)
    for number in range(5):
        tail.add(b"%d" % number * TAIL_BYTES)
    tail.add(b"last")
    leftovers = Leftovers(b"client", [*reads, tail.descriptor])
    os.write(writes[1], b"!")
    assert leftovers.take()[1] == b"4" * (TAIL_BYTES - 5) + b"last!"
    leftovers.close()


def test_a_process_that_wrote_nothing(pipes):
    tail = Tail()
    leftovers = Leftovers(b"client", [*pipes[0], tail.descriptor])
    assert leftovers.take() == ([], None)
    tail.set_active(is_active=True)
    assert leftovers.take() == ([], b"")
    leftovers.close()
