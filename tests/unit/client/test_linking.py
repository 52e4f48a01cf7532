"""Arguments of one call: inline, or linked to what is stored."""

import pytest

from scaler_client.completion import complete, fail
from scaler_client.exceptions import MissingObjects
from scaler_client.future import NO_PROFILE, ScalerFuture, Ticket
from scaler_client.linked import AwaitedLink, InlineLink, load_linked
from scaler_client.linking import LinkedCall, Linker
from scaler_client.object_reference import ObjectReference
from scaler_client.serializer import DefaultSerializer, load_call
from scaler_client.stored import whole_parts
from scaler_client.stored_result import StoredResult
from scaler_protocol.batch import STORED_BYTES
from tests.unit.client.shelf import Shelf

DEFAULT = DefaultSerializer()
LARGE = bytes(STORED_BYTES)


class Custom(DefaultSerializer):
    """Not the default one, though it does the same."""


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture(params=[DEFAULT, Custom()], ids=["default", "custom"])
def linker(request, shelf):
    return Linker(request.param, shelf)


def sent(shelf, linker, value):
    handle = shelf.put(whole_parts(value, linker.serializer))
    return ObjectReference(b"name", handle.size, handle.key, handle)


def load(call, linker, shelf):
    return load_linked(call.block, linker.serializer, shelf)


def test_small_arguments_stay_inline(linker, shelf):
    block = linker.dump((1, [2]), {"k": 3})
    assert load_call(block, linker.serializer) == ((1, [2]), {"k": 3})
    assert not shelf.objects


def test_large_arguments_are_stored_until_nobody_holds_the_call(linker, shelf):
    call = linker.dump((1,), {"k": LARGE})
    assert isinstance(call, LinkedCall)
    assert STORED_BYTES < call.size < STORED_BYTES + 500
    assert len(call.block) < 200
    assert load(call, linker, shelf) == ((1,), {"k": LARGE})
    del call
    assert not shelf.objects


def test_references_are_links_and_keep_their_objects(linker, shelf):
    reference = sent(shelf, linker, "sent")
    call = linker.dump((1, reference), {"k": reference})
    assert call.stored_bytes == 0
    shelf.release = lambda _: None  # what the reference and the call's handles keep is the real shelf's business
    assert load(call, linker, shelf) == ((1, "sent"), {"k": "sent"})
    assert [handle.key for handle in call.handles] == [reference.object_id] * 2


def test_references_beside_large_arguments(linker, shelf):
    shelf.release = lambda _: None
    call = linker.dump((sent(shelf, linker, "sent"), LARGE), {})
    assert load(call, linker, shelf) == (("sent", LARGE), {})
    assert len(call.handles) == 2


def test_a_reference_that_is_not_held(linker):
    with pytest.raises(MissingObjects):
        linker.dump((), {"k": ObjectReference(b"x", 1, b"unknown")})


def test_without_an_object_storage_large_arguments_stay_inline():
    linker = Linker(DEFAULT, Shelf(is_available=False))
    assert not linker.stores
    assert load_call(linker.dump((LARGE,), {}), DEFAULT) == ((LARGE,), {})


# ---- futures


class Owner:
    client_id = b"c" * 16


def future(result=None, *, error=None):
    made = ScalerFuture(Ticket(Owner(), 1), 0)
    if error is not None:
        fail(made, error)
    elif result is not None:
        complete([made], [result], NO_PROFILE)
    return made


def test_a_future_that_is_not_done_is_a_source(linker):
    waited = future()
    call = linker.dump((1, waited), {"k": waited})

    assert call.block == b""
    assert list(call.sources) == [waited, waited]
    assert call.linked.links == [(1, AwaitedLink()), ("k", AwaitedLink())]
    assert load_call(call.linked.call, linker.serializer, frozenset({1, "k"})) == ((1, None), {"k": None})
    assert call.size == call.inline_bytes == len(call.linked.call)


def test_the_result_of_a_future_takes_its_place(linker):
    block = linker.dump((1, future([2])), {"k": future("three")})
    assert load_call(block, linker.serializer) == ((1, [2]), {"k": "three"})


def test_a_large_result_that_was_fetched_is_stored_with_the_call(linker, shelf):
    call = linker.dump((future(LARGE),), {})
    assert call.stored_bytes > STORED_BYTES
    assert load(call, linker, shelf) == ((LARGE,), {})


def test_a_stored_result_is_a_link_and_stays_until_the_call_is_over(linker, shelf):
    handle = shelf.put(whole_parts("stored", linker.serializer))
    done = future(StoredResult(handle, linker.serializer))
    del handle
    call = linker.dump((done,), {})
    del done

    assert not call.sources
    assert load(call, linker, shelf) == (("stored",), {})
    del call
    assert not shelf.objects


def test_a_future_that_failed_is_a_source_that_is_lost(linker):
    failed = future(error=ValueError())
    assert list(linker.dump((failed,), {}).sources) == [failed]


def test_a_future_that_the_client_does_not_hold_is_refused(shelf):
    def refuse(_):
        raise MissingObjects("another client's")

    linker = Linker(DEFAULT, shelf, refuse)
    for value in (future(), future(1)):
        with pytest.raises(MissingObjects):
            linker.dump((value,), {})


def test_a_future_in_a_container_is_a_type_error(linker):
    for args in (([future()],), ({"k": future(1)},), ((1, future()),)):
        with pytest.raises(TypeError, match="ScalerFuture"):
            linker.dump(args, {})


def test_large_arguments_are_stored_beside_a_source(linker, shelf):
    call = linker.dump((future(), LARGE), {})
    assert call.linked.call is None
    assert call.stored_bytes > STORED_BYTES
    assert list(shelf.objects) == [call.linked.stored]


# ---- arguments that several calls have


def test_what_several_calls_have_is_pickled_once(linker, shelf):
    shared = linker.share([1, 2])
    calls = [linker.dump((shared, number), {}) for number in range(3)]
    assert [load(call, linker, shelf) for call in calls] == [(([1, 2], number), {}) for number in range(3)]
    assert not shelf.objects


def test_what_is_large_is_stored_once_until_the_last_call_is_over(linker, shelf):
    shared = linker.share(LARGE)
    calls = [linker.dump((shared,), {}) for _ in range(3)]
    del shared
    assert len(shelf.objects) == 1
    assert all(load(call, linker, shelf) == ((LARGE,), {}) for call in calls)
    del calls
    assert not shelf.objects


def test_without_an_object_storage_everything_is_shared_inline():
    shelf = Shelf(is_available=False)
    shared = Linker(DEFAULT, shelf).share(LARGE)
    assert isinstance(shared.link, InlineLink)
    assert not shelf.objects
