"""Who has a line, and when it rests, goes on or ends. Without its thread and its connections."""

import pytest

from scaler_client import line as module
from scaler_client.line import REST_SECONDS, Line, LineTerms, line_for
from scaler_protocol.addresses import Address
from scaler_runtime.session import Down, Rejected

TERMS = LineTerms(Address("tcp", "127.0.0.1", 1), 1.0, 3.0, may_rest=True)
LOST, REFUSED = Down(), Rejected("no")
NOW = 1000.0


class Part:
    """Stands for a context, a connection, a loop or objects: takes every call."""

    def __init__(self, *_, **__):
        self.calls = []

    def __getattr__(self, name):
        return lambda *_, **__: self.calls.append(name)


class Thread(Part):
    ident = 1


class User:
    closed_reason = "it has stopped"

    def __init__(self):
        self.events = []
        self.wakes = 0
        self.failures = 0

    def on_event(self, event, now):
        self.events.append(event)

    def on_wake(self, now):
        self.wakes += 1

    def on_thread_failed(self):
        self.failures += 1


@pytest.fixture(autouse=True)
def resting(monkeypatch):
    """Make lines of parts that do nothing; gives the place of the one that rests."""
    for name in ("Connection", "PeerLoop", "Objects"):
        monkeypatch.setattr(module, name, Part)
    monkeypatch.setattr(module.zmq, "Context", Part)
    monkeypatch.setattr(module.threading, "Thread", Thread)
    monkeypatch.setattr(module.time, "monotonic", lambda: NOW)
    monkeypatch.setattr(module, "_resting", module._Resting())
    return module._resting


def used(terms=TERMS):
    line, user = line_for(terms), User()
    line.begin(user)
    return line, user


def leave(line, user, *, in_order=True):
    """Return whether it was told at once that the user has left."""
    line.leave(user, 7, in_order=in_order)
    return line.left().is_set()


def test_what_was_left_in_order_goes_on_with_the_next():
    line, user = used()

    assert leave(line, user)

    assert not line.is_ending
    assert line_for(TERMS) is line
    assert line.last_batch_id == 7
    assert line_for(TERMS) is not line


@pytest.mark.parametrize(
    ("terms", "in_order"),
    [(TERMS, False), (LineTerms(TERMS.address, 1.0, 3.0), True)],
    ids=["something is left", "it is not inside a task"],
)
def test_others_end(terms, in_order):
    line, user = used(terms)

    assert not leave(line, user, in_order=in_order)

    assert line.is_ending
    assert "stop" in line.loop.calls
    assert line_for(terms) is not line


def test_it_is_known_how_a_user_has_left_as_soon_as_that_is_told():
    line, user = used()
    known = []
    line._left.set = lambda: known.append(line.is_ending)

    line.leave(user, 7, in_order=True)

    assert known == [False]


def test_one_rests_at_most():
    first, second = used(), used()
    leave(*first)

    assert not leave(*second)

    assert second[0].is_ending
    assert line_for(TERMS) is first[0]


def test_other_terms_take_none():
    line, user = used()
    leave(line, user)

    assert line_for(LineTerms(TERMS.address, 1.0, 4.0, may_rest=True)) is not line
    assert line_for(TERMS) is line


def test_a_rest_has_its_end():
    line, user = used()
    leave(line, user)
    assert line.next_wakeup() == NOW + REST_SECONDS

    line.on_wake(NOW + REST_SECONDS / 2)
    assert not line.is_ending
    line.on_wake(NOW + REST_SECONDS)

    assert line.is_ending
    assert line_for(TERMS) is not line
    assert user.wakes == 0


def test_who_has_it_already_has_it_when_its_rest_would_end():
    line, user = used()
    leave(line, user)
    assert line_for(TERMS) is line

    line.on_wake(NOW + REST_SECONDS)

    assert not line.is_ending
    assert line.next_wakeup() > NOW + REST_SECONDS


def test_a_rest_ends_with_whatever_happens_in_it():
    line, user = used()
    leave(line, user)

    line.on_event(LOST, NOW)
    line.on_wake(NOW)

    assert line.is_ending
    assert user.events == []


def test_what_happened_before_a_user_began_is_brought_to_it_first():
    line, user = used()
    leave(line, user)
    assert line_for(TERMS) is line
    line.on_event(LOST, NOW)
    line.on_wake(NOW)
    following = User()
    line.begin(following)

    line.on_event(REFUSED, NOW)

    assert following.events == [LOST, REFUSED]


def test_a_line_whose_thread_has_failed_is_for_nobody(resting):
    line, user = used()
    leave(line, user)

    def fail():
        raise OSError("no memory")

    line.loop.run = fail
    line._run()

    assert resting.line is None
    assert line_for(TERMS) is not line
    assert user.failures == 0


def test_a_user_whose_thread_has_failed_is_told():
    line, user = used()

    def fail():
        raise OSError("no memory")

    line.loop.run = fail
    line._run()

    assert user.failures == 1
    assert line.left().is_set()


def test_a_forked_process_has_none(resting):
    line, user = used()
    leave(line, user)

    resting.leave_to_parent()

    assert line.objects.calls == ["leave_to_parent"]
    assert line_for(TERMS) is not line


def test_in_a_rest_nothing_is_closed():
    line, user = used()
    assert line._closed_reason() == user.closed_reason
    leave(line, user)

    assert line._closed_reason() == ""


def test_lines_of_their_own_are_new_clients():
    assert Line(TERMS).client_id != Line(TERMS).client_id
