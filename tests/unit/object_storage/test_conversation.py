"""What other threads leave for the loop is done in order, and the loop is not woken for each of many."""

import pytest

from scaler_object_storage.conversation import ANNOUNCE_SECONDS, GATHER_SECONDS, Announce, Delete, Inbox


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


def test_storing_and_deleting_in_turns_makes_two_orders_unless_a_key_comes_again(conversation):
    inbox = Inbox(conversation)
    for order in (Announce([b"1"]), Delete([b"0"]), Announce([b"2"]), Delete([b"1"]), Announce([b"1"]), Delete([b"2"])):
        inbox.put(order)

    inbox.on_wake(1.0)

    assert conversation.requests.calls == [
        ("announce", [b"1", b"2"]),
        ("delete", [b"0", b"1"]),
        ("announce", [b"1"]),
        ("delete", [b"2"]),
    ]


def test_after_deletions_more_orders_are_awaited_for_a_moment(conversation):
    inbox = Inbox(conversation)
    assert not inbox.put(Delete([b"1"]))
    inbox.on_wake(1.0)
    assert inbox.next_wakeup() == 1.0 + GATHER_SECONDS

    assert inbox.put(Delete([b"2"]))
    assert inbox.put(Announce([b"3"]))
    inbox.on_wake(1.0 + GATHER_SECONDS)
    assert inbox.next_wakeup() == 1.0 + 2 * GATHER_SECONDS

    inbox.on_wake(1.0 + 2 * GATHER_SECONDS)
    assert inbox.next_wakeup() is None
    assert conversation.requests.calls == [("delete", [b"1"]), ("announce", [b"3"]), ("delete", [b"2"])]
    assert not inbox.put(Delete([b"3"]))


def test_after_announcements_more_are_awaited_for_longer_but_no_deletion(conversation):
    inbox = Inbox(conversation)
    assert not inbox.put(Announce([b"1"]))
    inbox.on_wake(1.0)
    assert inbox.next_wakeup() == 1.0 + ANNOUNCE_SECONDS

    assert inbox.put(Announce([b"2"]))
    assert not inbox.put(Delete([b"1"]))
    inbox.on_wake(1.0 + GATHER_SECONDS)

    assert conversation.requests.calls == [("announce", [b"1"]), ("announce", [b"2"]), ("delete", [b"1"])]
    assert inbox.next_wakeup() == 1.0 + 2 * GATHER_SECONDS


def test_a_wake_for_something_else_keeps_the_moment(conversation):
    inbox = Inbox(conversation)
    inbox.put(Delete([b"1"]))
    inbox.on_wake(1.0)

    inbox.put(lambda _: None)
    inbox.on_wake(1.0 + GATHER_SECONDS / 2)

    assert inbox.put(Delete([b"2"]))
    assert inbox.next_wakeup() == 1.0 + GATHER_SECONDS
