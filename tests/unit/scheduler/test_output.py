"""Output on its way to clients."""

import pytest

from scaler_protocol import messages as m
from scaler_protocol.errors import ProtocolError
from scaler_runtime import core as c
from tests.unit.scheduler.builders import Bench


@pytest.fixture
def bench():
    bench = Bench()
    bench.a = bench.client("A")
    bench.w = bench.worker("W")
    bench.effects.take()
    return bench


def written(client=b"A", payload=b"hello"):
    return m.TaskOutput(client, is_error=False, payload=payload)


def test_slices_say_whether_output_is_wanted(bench):
    bench.a.submit(stream_output=True)
    bench.w.complete()
    bench.a.submit()
    assert [assign.stream_output for assign in bench.effects.take(m.AssignSlice)] == [True, False]


@pytest.mark.parametrize("sender", ["w", "h"])
def test_output_of_workers_and_hosts_goes_to_its_client_alone(bench, sender):
    bench.client("B")
    bench.say({"w": b"W", "h": b"H"}[sender], written())
    assert bench.effects.pairs() == [(b"A", written(b""))]


def from_host(payload, position, *, stream=1, incarnation=1):
    return m.TaskOutput(b"A", False, payload, stream, position, "W", incarnation)


def test_of_what_a_dead_process_left_only_what_it_had_not_sent_goes_on(bench):
    bench.w.say(m.TaskOutput(b"A", False, b"0123", 1, 0))
    bench.w.say(m.TaskOutput(b"A", True, b"error", 1, 0))
    bench.effects.take()
    bench.say(b"H", from_host(b"012", 0))
    bench.effects.assert_empty()
    bench.say(b"H", from_host(b"3456", 3))
    bench.say(b"H", from_host(b"78", 7))
    bench.say(b"H", from_host(b"other", 0, stream=2))
    bench.say(b"H", from_host(b"next", 0, incarnation=2))
    assert [said.payload for said in bench.effects.take(m.TaskOutput)] == [b"456", b"78", b"other", b"next"]


def test_what_a_process_sent_comes_too_late_when_its_host_has_spoken(bench):
    bench.say(b"H", from_host(b"last words", 0))
    bench.say(b"H", m.ProcessEnded("W", 1, "exit", 3, 0, 0, False, ""))
    bench.effects.take()
    bench.say(b"W", m.TaskOutput(b"A", False, b"last words", 1, 0))
    assert bench.effects.take(m.TaskOutput) == []


def test_output_for_a_client_that_is_gone_is_dropped(bench):
    bench.a.leave()
    bench.effects.take()
    bench.w.say(written())
    bench.effects.assert_empty()


def test_a_client_does_not_send_output(bench):
    with pytest.raises(ProtocolError):
        bench.a.say(written())


def test_a_slow_client_silences_those_who_write_and_gets_no_more_tasks(bench):
    other = bench.worker("V")
    bench.effects.take()
    bench.a.say(m.HoldOutput(b"", is_held=True))
    bench.effects.assert_empty()
    bench.w.say(written())
    bench.w.say(written())
    assert bench.effects.pairs() == [
        (b"A", written(b"")),
        (b"W", m.HoldOutput(b"A", is_held=True)),
        (b"A", written(b"")),
    ]
    bench.a.submit(stream_output=True)
    assert bench.effects.take(m.AssignSlice) == []
    bench.a.say(m.HoldOutput(b"", is_held=False))
    assert bench.effects.take(m.HoldOutput) == [m.HoldOutput(b"A", is_held=False)]
    assert other.told == []
    assert len(bench.effects.take(m.AssignSlice)) == 1


def test_a_client_that_takes_in_too_little_counts_as_slow(bench):
    bench.handle(c.Congested(b"A"))
    bench.w.say(written())
    bench.a.say(m.HoldOutput(b"", is_held=True))
    bench.handle(c.Relieved(b"A"))
    assert bench.w.told == [m.HoldOutput(b"A", is_held=True)]
    bench.a.say(m.HoldOutput(b"", is_held=False))
    assert bench.w.told == [m.HoldOutput(b"A", is_held=True), m.HoldOutput(b"A", is_held=False)]


def test_who_waits_for_a_client_that_leaves_goes_on(bench):
    bench.a.say(m.HoldOutput(b"", is_held=True))
    bench.w.say(written())
    bench.a.leave()
    assert bench.w.told[-1] == m.HoldOutput(b"A", is_held=False)


def test_the_last_words_of_a_process_reach_the_client(bench):
    batch = bench.a.submit()
    slice_id, task = bench.w.running()
    bench.say(
        b"H", m.ProcessEnded("W", 1, "signal", 11, slice_id, task, False, "it crashed", stderr_tail="bad\nworse\n")
    )
    assert bench.a.texts[batch, 0] == "signal_name=SIGSEGV\nstderr_tail=10\nit crashedbad\nworse\n"
