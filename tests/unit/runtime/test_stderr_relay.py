"""What children write to their standard error: passed on, the end of it kept, and nothing waits."""

import contextlib
import os
import select
import socket

import pytest

from scaler_runtime.stderr_relay import MAX_PENDING_BYTES, TAIL_BYTES, StderrRelay


@pytest.fixture
def stderr():
    """Make a pipe that stands for this process's standard error; gives both ends."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    with contextlib.ExitStack() as stack:
        for descriptor in (read, write):
            stack.callback(os.close, descriptor)
        yield read, write


def registered(relay):
    poll = select.poll()
    relay.register(poll)
    return poll


def read_all(descriptor):
    """Return what waits in a pipe."""
    parts = []
    try:
        while part := os.read(descriptor, 1 << 20):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts)


def flood(relay, pipe):
    """Write to a child's pipe until it takes no more; returns how much it took."""
    os.set_blocking(pipe, False)
    taken = 0
    while True:
        try:
            taken += os.write(pipe, b"y" * 4096)
        except BlockingIOError:
            return taken
        relay.turn()


def fill(relay, pipe, size):
    """Write so much to a child's pipe, with turns of the relay whenever it is full."""
    os.set_blocking(pipe, False)
    while size:
        try:
            size -= os.write(pipe, b"x" * min(size, 65536))
        except BlockingIOError:
            relay.turn()


def test_what_a_child_writes_is_passed_on_unchanged(stderr):
    relay = StderrRelay(stderr[1])
    poll = registered(relay)
    one, two = relay.open("one"), relay.open("two")
    assert poll.poll(0) == []
    os.write(one, b"\xff\x00half a line")
    assert poll.poll(0)
    relay.turn()
    os.write(two, b" and more\n")
    relay.turn()
    assert read_all(stderr[0]) == b"\xff\x00half a line and more\n"
    assert poll.poll(0) == []
    assert (relay.end("one"), relay.end("two")) == (b"\xff\x00half a line", b" and more\n")


def test_the_end_has_what_was_written_last(stderr):
    relay = StderrRelay(stderr[1])
    pipe = relay.open("a")
    os.write(pipe, b"first ")
    relay.turn()
    os.write(pipe, b"last")
    os.close(pipe)
    assert relay.end("a") == b"first last"
    relay.turn()
    assert read_all(stderr[0]) == b"first last"
    assert relay.end("a") == b""
    assert relay.end("never seen") == b""


def test_the_end_is_bounded(stderr):
    relay = StderrRelay(stderr[1])
    pipe = relay.open("a")
    for _ in range(4):
        os.write(pipe, b"x" * TAIL_BYTES)
        relay.turn()
        read_all(stderr[0])
    os.write(pipe, b"end")
    assert relay.end("a") == b"x" * (TAIL_BYTES - 3) + b"end"


def test_a_child_that_closed_its_standard_error_before_its_end(stderr):
    relay = StderrRelay(stderr[1])
    pipe = relay.open("a")
    os.write(pipe, b"closing")
    os.close(pipe)
    relay.turn()
    relay.turn()
    other = relay.open("b")  # may have the same number as the pipe that is gone
    os.write(other, b"not mine")
    assert relay.end("a") == b"closing"


def test_what_outlives_a_child_is_passed_on(stderr):
    relay = StderrRelay(stderr[1])
    pipe = relay.open("a")
    assert relay.end("a") == b""
    os.write(pipe, b"from a process that it left behind")
    relay.turn()
    assert read_all(stderr[0]) == b"from a process that it left behind"


def test_a_standard_error_that_takes_nothing_stops_the_children_not_the_loop(stderr):
    relay = StderrRelay(stderr[1])
    poll = registered(relay)
    pipe = relay.open("a")
    sent = flood(relay, pipe)
    assert poll.poll(0) == []  # nothing to be done: neither the pipe nor the standard error wakes the loop
    received = len(read_all(stderr[0]))
    assert poll.poll(0)
    for _ in range(20):
        relay.turn()
        received += len(read_all(stderr[0]))
    assert received == sent
    os.write(pipe, b"z")
    assert poll.poll(0)
    relay.turn()
    assert read_all(stderr[0]) == b"z"


def test_what_the_dead_left_is_dropped_beyond_a_limit_and_that_is_said(stderr):
    relay = StderrRelay(stderr[1])
    flood(relay, relay.open("flood"))
    for number in range(2 * MAX_PENDING_BYTES // 65536):
        other = relay.open(f"{number}")
        os.write(other, b"w" * 65536)
        os.close(other)
        assert len(relay.end(f"{number}")) == TAIL_BYTES
    text = b""
    for _ in range(200):
        text += read_all(stderr[0])
        relay.turn()
    assert b"bytes of standard error were dropped]\n" in text
    assert len(text) < MAX_PENDING_BYTES + (1 << 18)


def test_the_end_of_all_waits_for_a_slow_reader_only_for_a_while(stderr):
    relay = StderrRelay(stderr[1])
    pipe = relay.open("a")
    os.write(pipe, b"last words")
    relay.finish(0.01)
    assert read_all(stderr[0]) == b"last words"
    fill(relay, pipe, 128 << 10)
    relay.finish(0.01)
    assert len(read_all(stderr[0])) == 65536


def test_nobody_reads_the_standard_error(stderr):
    relay = StderrRelay(stderr[1])
    pipe = relay.open("a")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, stderr[0])  # the only reader goes
    os.close(null)
    fill(relay, pipe, 1 << 20)
    relay.turn()
    assert relay.end("a") == b"x" * TAIL_BYTES


def test_a_file_takes_everything(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        relay = StderrRelay(file.fileno())
        fill(relay, relay.open("a"), 300_000)
        for _ in range(100):
            relay.turn()
    assert (tmp_path / "log").read_bytes() == b"x" * 300_000


def test_a_socket_that_is_full_does_not_stop_the_loop():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        relay = StderrRelay(theirs.fileno())
        os.write(relay.open("a"), b"by socket")
        relay.turn()
        assert ours.recv(100) == b"by socket"
        assert flood(relay, relay.open("b")) > 0
        assert theirs.getblocking()


def test_a_standard_error_that_is_closed():
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.close(descriptor)
    relay = StderrRelay(descriptor)
    pipe = relay.open("a")
    os.write(pipe, b"unheard")
    relay.turn()
    assert relay.end("a") == b"unheard"
