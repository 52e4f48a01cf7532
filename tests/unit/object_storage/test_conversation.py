"""What other threads leave for the loop is done in order, and the loop is not woken for each of many."""

import pytest

from scaler_object_storage.conversation import GATHER_SECONDS, Announce, Delete, Inbox


class Requests:
    def __init__(self):
        self.calls = []

    def announce(self, keys):
        self.calls.append(("announce", keys))

    def delete(self, keys):
        self.calls.append(("delete", keys))

    def on_time(self, now):
        return []

    def next_wakeup(self):
        return None


class Conversation:
    def __init__(self):
        self.requests = Requests()

    def tell(self, settled, now):
        assert settled == []


@pytest.fixture
def conversation():
    return Conversation()


def test_orders_of_one_kind_go_together_and_everything_in_order(conversation):
    inbox = Inbox(conversation)
    inbox.put(Announce([b"1"]))
    inbox.put(Announce([b"2"]))
    inbox.put(Delete([b"1"]))
    inbox.put(Delete([b"3"]))
    inbox.put(lambda now: conversation.requests.calls.append(("command", now)))
    inbox.put(Announce([b"4"]))

    inbox.on_wake(7.0)

    assert conversation.requests.calls == [
        ("announce", [b"1", b"2"]),
        ("delete", [b"1", b"3"]),
        ("command", 7.0),
        ("announce", [b"4"]),
    ]


def test_after_orders_more_are_awaited_for_a_moment(conversation):
    inbox = Inbox(conversation)
    assert not inbox.looks_soon
    inbox.put(Announce([b"1"]))
    inbox.on_wake(1.0)
    assert inbox.looks_soon
    assert inbox.next_wakeup() == 1.0 + GATHER_SECONDS

    inbox.put(Announce([b"2"]))
    inbox.on_wake(1.0 + GATHER_SECONDS)
    assert inbox.next_wakeup() == 1.0 + 2 * GATHER_SECONDS

    inbox.on_wake(1.0 + 2 * GATHER_SECONDS)
    assert not inbox.looks_soon
    assert inbox.next_wakeup() is None
    assert conversation.requests.calls == [("announce", [b"1"]), ("announce", [b"2"])]


def test_a_wake_for_something_else_keeps_the_moment(conversation):
    inbox = Inbox(conversation)
    inbox.put(Delete([b"1"]))
    inbox.on_wake(1.0)

    inbox.put(lambda _: None)
    inbox.on_wake(1.0 + GATHER_SECONDS / 2)

    assert inbox.looks_soon
    assert inbox.next_wakeup() == 1.0 + GATHER_SECONDS
