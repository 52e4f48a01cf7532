"""Results that calls wait for, and what takes their place."""

from concurrent.futures import CancelledError

import pytest

from scaler_client.completion import cancel, complete, fail
from scaler_client.future import NO_PROFILE, ScalerFuture, Ticket
from scaler_client.linked import InlineLink, StoredLink
from scaler_client.serializer import DefaultSerializer, dump_result, dump_values, load_result
from scaler_client.sources import Given, Lost, delivered, has_result, is_done, outcome_of, place_of
from scaler_client.stored import whole_parts
from scaler_client.stored_result import StoredResult
from scaler_protocol.batch import Status, pack_stored
from tests.unit.client.shelf import Shelf

DEFAULT = DefaultSerializer()


class Owner:
    client_id = b"c" * 16


class NotPicklable:
    def __reduce__(self):
        raise ValueError("no")


def make_future():
    return ScalerFuture(Ticket(Owner(), 7), 3)


@pytest.fixture
def future():
    return make_future()


def test_a_future_says_whose_task_it_is_and_how_far(future):
    assert place_of(future) == (b"c" * 16, 7, 3)
    assert not is_done(future)
    assert not has_result(future)
    complete([future], [1], NO_PROFILE)
    assert is_done(future)
    assert has_result(future)


def test_a_result_travels_along(future):
    complete([future], [[1, 2]], NO_PROFILE)
    given = outcome_of(future, DEFAULT)
    assert isinstance(given, Given)
    assert load_result(given.make_link().payload, DEFAULT) == [1, 2]


def test_a_stored_result_is_linked_and_kept():
    shelf, future = Shelf(), make_future()
    handle = shelf.put(whole_parts("large", DEFAULT))
    complete([future], [StoredResult(handle, DEFAULT)], NO_PROFILE)
    key = handle.key
    del handle

    given = outcome_of(future, DEFAULT)
    del future

    assert given.make_link() == StoredLink(key)
    assert shelf.objects
    del given
    assert not shelf.objects


def test_a_failure_and_a_cancelled_task_are_lost(future):
    error = ValueError("no")
    fail(future, error)
    assert not has_result(future)
    lost = outcome_of(future, DEFAULT)
    assert isinstance(lost, Lost)
    assert lost.failure() is error


def test_a_cancelled_task_is_lost_without_a_failure(future):
    cancel(future)
    assert not has_result(future)
    assert outcome_of(future, DEFAULT).failure is None
    with pytest.raises(CancelledError):
        future.result()


def test_a_result_that_cannot_be_passed_on_is_lost(future):
    complete([future], [NotPicklable()], NO_PROFILE)
    lost = outcome_of(future, DEFAULT)
    assert isinstance(lost.failure(), ValueError)


@pytest.mark.parametrize(
    ("status", "position", "run", "expected"),
    [
        (Status.VALUE, 0, dump_result([1], DEFAULT), [1]),
        (Status.VALUES, 2, dump_values([7, 8, 9]), 9),
    ],
)
def test_what_the_scheduler_delivered_is_passed_on_as_it_came(status, position, run, expected):
    link = delivered(status, position, run, None, DEFAULT).make_link()
    assert isinstance(link, InlineLink)
    assert load_result(link.payload, DEFAULT) == expected


def test_what_is_stored_is_linked():
    link = delivered(Status.STORED, 0, pack_stored(5, b"key"), None, DEFAULT).make_link()
    assert link == StoredLink(b"key")
