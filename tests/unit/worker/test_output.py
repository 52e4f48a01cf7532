"""Streaming what is written to descriptors 1 and 2, in this process: pytest's own capturing stands for the terminal."""

import ctypes
import os
import subprocess
import sys

import pytest

from scaler_protocol.messages import TaskOutput
from scaler_worker.leftovers import STREAMING, Leftovers
from scaler_worker.output import PAUSE_SECONDS, Output, len_of_half

A, B = b"client A", b"client B"


class Host:
    """Keeps what a process shares, as a real one does."""

    def __init__(self):
        self.leftovers = []

    def hear(self, message, descriptors):
        word, client_id, number = message
        assert word == STREAMING
        self.leftovers.append(Leftovers(client_id, number, [os.dup(descriptor) for descriptor in descriptors]))


class Streaming:
    """An `Output` with time that passes by itself."""

    def __init__(self):
        self.host = Host()
        self.woken = 0
        self.output = Output(self.host.hear, self._wake)
        self.now = 0.0

    def _wake(self):
        self.woken += 1

    def turn(self, *, has_room=True):
        self.now += PAUSE_SECONDS
        return joined(self.output.turn(self.now, has_room=has_room))

    def drain(self):
        return joined(self.output.drain())

    def is_due(self):
        """Whether the IO thread is woken."""
        return bool(self.output._epoll.poll(0))


def joined(messages):
    """Return what was written, by client and descriptor."""
    texts = {}
    for message in messages:
        assert isinstance(message, TaskOutput)
        assert message.payload
        key = (message.client_id, 2 if message.is_error else 1)
        texts[key] = texts.get(key, b"") + message.payload
    return texts


@pytest.fixture
def streaming():
    streaming = Streaming()
    yield streaming
    streaming.output.leave()
    streaming.output._begin(b"nobody")  # lets go of the pipes
    streaming.turn()
    for leftovers in streaming.host.leftovers:
        leftovers.close()


@pytest.fixture
def write_text(monkeypatch):
    """Write by a buffered text stream, as Python's own are where nobody captures them; gives the writing function."""

    def write(name, text):
        descriptor = {"stdout": 1, "stderr": 2}[name]
        monkeypatch.setattr(sys, name, open(descriptor, "w", closefd=False))  # noqa: SIM115
        getattr(sys, name).write(text)

    return write


def test_every_way_to_write_is_heard_and_only_while_it_is_wanted(streaming, write_text):
    os.write(1, b"")
    streaming.output.enter(A)
    assert streaming.woken == 1
    write_text("stdout", "text, ")
    sys.stdout.flush()
    os.write(1, b"\xff bytes, ")
    ctypes.CDLL(None).printf(b"C, ")
    subprocess.run(["sh", "-c", "printf child; printf error >&2"], check=True)
    streaming.output.leave()
    written = streaming.turn()
    assert written.pop((A, 2)) == b"error"
    assert written[A, 1].replace(b"C, ", b"", 1) == b"text, \xff bytes, child"  # C's own buffer may be flushed late
    assert not streaming.is_due()


def test_what_a_call_wrote_is_there_when_it_returns(streaming, write_text):
    def fn(x):
        write_text("stdout", f"half a line {x}")
        return x

    streaming.output.enter(A)
    assert streaming.output.streamed(fn)(3) == 3
    assert streaming.drain() == {(A, 1): b"half a line 3"}


def test_a_call_that_raises_leaves_its_words_too(streaming, write_text):
    def fn():
        write_text("stderr", "about to fail")
        raise KeyError

    streaming.output.enter(A)
    with pytest.raises(KeyError):
        streaming.output.streamed(fn)()
    assert streaming.drain() == {(A, 2): b"about to fail"}


def test_a_standard_output_that_misbehaves_is_no_failure_of_its_task(streaming, monkeypatch):
    class Odd:
        def flush(self):
            raise RuntimeError

    streaming.output.enter(A)
    monkeypatch.setattr(sys, "stdout", Odd())
    assert streaming.output.streamed(lambda: 5)() == 5


def test_each_client_has_pipes_of_its_own_and_keeps_them_while_no_other_comes(streaming):
    for client in (A, A, B, A):
        streaming.output.enter(client)
        os.write(1, client[-1:])
        streaming.output.leave()
    assert len(streaming.host.leftovers) == 3
    assert streaming.drain() == {(A, 1): b"AAA", (B, 1): b"B"}
    streaming.turn()
    assert [stream.client_id for stream in streaming.output._all()] == [A]


def test_what_a_task_left_behind_goes_on_writing_to_its_own_client(streaming):
    streaming.output.enter(A)
    child = subprocess.Popen(["sh", "-c", "read line; echo late"], stdin=subprocess.PIPE)
    streaming.output.leave()
    streaming.output.enter(B)
    streaming.output.leave()
    streaming.turn()
    assert not streaming.is_due()
    child.communicate(b"now\n")
    assert streaming.is_due()
    assert streaming.turn() == {(A, 1): b"late\n"}
    streaming.turn()
    assert [stream.client_id for stream in streaming.output._all()] == [B]


def test_without_room_nothing_is_read_but_before_outcomes(streaming):
    streaming.output.enter(A)
    os.write(1, b"x")
    assert streaming.turn(has_room=False) == {}
    assert not streaming.is_due()
    assert not streaming.output._has_room.is_set()
    assert streaming.drain() == {(A, 1): b"x"}
    assert streaming.turn() == {}
    assert streaming.output._has_room.is_set()
    os.write(1, b"y")
    assert streaming.is_due()


def test_a_client_that_holds_is_not_read_for_until_it_goes_on(streaming):
    streaming.output.hold(A, is_held=True)
    streaming.output.enter(A)
    os.write(1, b"x")
    assert streaming.turn() == {}
    streaming.output.hold(A, is_held=False)
    assert streaming.turn() == {(A, 1): b"x"}
    streaming.output.hold(A, is_held=True)
    streaming.output.hold_nothing()
    os.write(1, b"y")
    assert streaming.turn() == {(A, 1): b"y"}


def test_lines_are_gathered_for_a_moment(streaming):
    streaming.output.enter(A)
    os.write(1, b"first\n")
    assert joined(streaming.output.turn(1.0, has_room=True)) == {(A, 1): b"first\n"}
    os.write(1, b"second\n")
    assert not streaming.is_due()
    assert streaming.output.turn(1.0, has_room=True) == []
    due = streaming.output.next_wakeup()
    assert due == 1.0 + PAUSE_SECONDS
    assert joined(streaming.output.turn(due, has_room=True)) == {(A, 1): b"second\n"}


def test_a_character_is_not_sent_in_halves_unless_nothing_more_may_come(streaming):
    euro = "€".encode()
    streaming.output.enter(A)
    os.write(1, b"1" + euro[:2])
    assert streaming.turn() == {(A, 1): b"1"}
    os.write(1, euro[2:] + euro[:1])
    assert streaming.turn() == {(A, 1): euro}
    assert streaming.drain() == {(A, 1): euro[:1]}


@pytest.mark.parametrize(
    ("data", "half"),
    [
        (b"", 0),
        (b"abc", 0),
        (b"\xe2", 1),
        (b"a\xe2\x82", 2),
        ("a€".encode(), 0),
        (b"\xf0\x9f\x98", 3),
        (b"\x80\x80", 0),
    ],
)
def test_half_characters(data, half):
    assert len_of_half(data) == half


def test_what_is_left_by_a_dead_process_is_found_by_its_host(streaming):
    streaming.output.enter(A)
    os.write(2, "read already, €".encode()[:-1])
    (sent,) = streaming.output.turn(1.0, has_room=True)
    assert (sent.payload, sent.stream, sent.position) == (b"read already, ", 1, 0)
    os.write(1, b"unread")
    os.write(2, b"\xaclast")
    messages, tail = streaming.host.leftovers[0].take("W", 3)
    assert joined(messages) == {(A, 1): b"unread", (A, 2): "read already, €last".encode()}
    assert [(m.worker_id, m.incarnation, m.stream, m.position) for m in messages] == [("W", 3, 1, 0)] * 2
    assert tail == "read already, €last".encode()


def test_what_is_said_has_its_place_in_the_stream(streaming):
    streaming.output.enter(A)
    places = []
    for text in ("abc", "", "€uro", "d"):
        os.write(1, text.encode())
        places += [(said.stream, said.position) for said in streaming.output.drain()]
    streaming.output.leave()
    streaming.output.enter(B)
    os.write(1, b"x")
    assert places == [(1, 0), (1, 3), (1, 9)]
    assert [(said.stream, said.position) for said in streaming.output.drain()] == [(2, 0)]


def test_the_end_of_standard_error_is_elsewhere_once_tasks_write_no_more(streaming):
    streaming.output.enter(A)
    os.write(2, b"of a task")
    streaming.output.leave()
    messages, tail = streaming.host.leftovers[0].take("W", 1)
    assert joined(messages) == {(A, 2): b"of a task"}
    assert tail is None


def test_closed_descriptors_are_closed_again_afterwards(streaming):
    saved = os.dup(1)
    os.close(1)
    try:
        streaming.output.enter(A)
        os.write(1, b"x")
        streaming.output.leave()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(1, b"y")
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    assert streaming.drain() == {(A, 1): b"x"}
