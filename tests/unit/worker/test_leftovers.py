"""What a host finds of a process that is gone. Together with the process's end: test_output.py."""

import os

import pytest

from scaler_protocol.messages import TaskOutput
from scaler_runtime.stderr_relay import TAIL_BYTES
from scaler_worker.leftovers import CHUNK_BYTES, KEPT_BYTES, Leftovers, Spool


@pytest.fixture
def pipes():
    """Make both pipes of a process; gives (reading ends, writing ends)."""
    ends = [os.pipe2(os.O_NONBLOCK) for _ in range(2)]
    reads, writes = zip(*ends, strict=True)
    yield reads, writes
    for write in writes:
        os.close(write)


@pytest.fixture
def left(pipes):
    """Make what a process shares; gives (leftovers, spools, writing ends)."""
    reads, writes = pipes
    spools = [Spool(), Spool()]
    leftovers = Leftovers(b"client", 7, [*reads, *(spool.descriptor for spool in spools)])
    yield leftovers, spools, writes
    leftovers.close()


def said(is_error, payload, position):
    return TaskOutput(b"client", is_error, payload, stream=7, position=position, worker_id="W", incarnation=2)


def test_much_is_sent_in_pieces(left, pipes):
    leftovers, spools, writes = left
    os.write(writes[0], b"x" * CHUNK_BYTES)
    assert spools[0].fill(pipes[0][0], CHUNK_BYTES) == b"x" * CHUNK_BYTES
    os.write(writes[0], b"z")
    os.write(writes[1], b"y" * 10)
    messages, last = leftovers.take("W", 2)
    assert messages == [said(False, b"x" * CHUNK_BYTES, 0), said(False, b"z", CHUNK_BYTES), said(True, b"y" * 10, 0)]
    assert last is None


def test_what_is_kept_is_bounded_and_has_what_came_last(left, pipes):
    leftovers, spools, writes = left
    spools[1].set_active(is_active=True)
    count = 5 * KEPT_BYTES // CHUNK_BYTES
    for number in range(count):
        os.write(writes[1], b"%d" % (number % 10) * CHUNK_BYTES)
        spools[1].fill(pipes[0][1], CHUNK_BYTES)
    assert os.fstat(spools[1].descriptor).st_blocks * 512 <= 2 * KEPT_BYTES + 2 * CHUNK_BYTES
    os.write(writes[1], b"last")
    messages, tail = leftovers.take("W", 2)
    assert messages[0].position == count * CHUNK_BYTES - KEPT_BYTES
    assert sum(len(message.payload) for message in messages) == KEPT_BYTES + 4
    assert b"\0" not in b"".join(message.payload for message in messages)
    assert tail == b"%d" % ((count - 1) % 10) * (TAIL_BYTES - 4) + b"last"


def test_a_process_that_wrote_nothing(left):
    leftovers, spools, _ = left
    assert leftovers.take("W", 2) == ([], None)
    spools[1].set_active(is_active=True)
    assert leftovers.take("W", 2) == ([], b"")
