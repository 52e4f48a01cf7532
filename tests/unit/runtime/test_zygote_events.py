"""A child's words on their way to the owner of its zygote."""

import pickle

import pytest

from scaler_runtime.zygote_events import MAX_MESSAGE_BYTES, Channel, Said


class Connection:
    def __init__(self, error=None):
        self.sent = []
        self.error = error

    def sendmsg(self, parts, rights, flags):
        if self.error is not None:
            raise self.error
        self.sent.append(pickle.loads(b"".join(parts)))
        self.rights = rights


def test_words_carry_the_childs_key():
    connection = Connection()
    Channel("a", connection).say(("ready",))
    assert connection.sent == [Said("a", ("ready",))]


def test_words_take_descriptors_along():
    connection = Connection()
    Channel("a", connection).say("here", (3, 4))
    assert [list(descriptors) for _, _, descriptors in connection.rights] == [[3, 4]]


def test_too_long_words_are_refused():
    connection = Connection()
    with pytest.raises(ValueError, match="more than"):
        Channel("a", connection).say(b"x" * MAX_MESSAGE_BYTES)
    assert connection.sent == []


def test_an_owner_that_is_gone_is_no_error():
    Channel("a", Connection(BrokenPipeError())).say("anybody?")
