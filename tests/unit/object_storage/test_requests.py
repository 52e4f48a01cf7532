"""A connector's conversation, with the server's answers made by hand."""

import pytest

from scaler_object_storage.core.requests import (
    MAX_KEYS,
    MAX_TRANSFERS,
    RENEWAL_SECONDS,
    Count,
    Fetch,
    Found,
    Put,
    Ready,
    Requests,
)
from scaler_object_storage.errors import (
    ObjectNotFound,
    ObjectStorageClosed,
    ObjectStorageError,
    ObjectStorageFull,
    ObjectStorageRefused,
    ObjectStorageUnreachable,
)
from scaler_object_storage.values import Parts
from scaler_protocol import storage_messages as sm

KEY, OWNER = b"key", b"owner"
CHUNK = sm.CHUNK_BYTES


class Conversation:
    """Requests with a connection that the test makes and breaks."""

    def __init__(self):
        self.outcomes = []
        self.now = 0.0
        numbers = iter(range(1000))
        self.requests = Requests("test", "tcp://there:1", lambda: b"%016d" % next(numbers))

    def up(self, is_shared=False):
        self.requests.on_connected()
        (hello,) = self.sent()
        assert isinstance(hello, sm.StorageHello)
        self._note(self.requests.on_welcome(is_shared, self.now))
        return self

    def down(self):
        self.requests.on_disconnected()

    def sent(self):
        messages = list(self.requests.outgoing)
        self.requests.outgoing.clear()
        return messages

    def fetch(self, key=KEY, wait=True, patience=60.0):
        return self.ask(Fetch(self.outcomes.append, patience, key=key, wait=wait))

    def put(self, content, patience=60.0):
        return self.ask(Put(self.outcomes.append, patience, key=KEY, owner=OWNER, parts=Parts.of(content)))

    def ask(self, ask):
        self._note(self.requests.ask(ask, self.now))
        return ask

    def answer(self, message):
        self._note(self.requests.on_message(message, self.now))

    def wait(self, seconds):
        self.now += seconds
        self._note(self.requests.on_time(self.now))

    def _note(self, settled):
        for item in settled:
            item.ask.on_done(item.outcome)


@pytest.fixture
def talk():
    return Conversation()


def test_who_waits_for_the_server_is_told_when_it_has_answered(talk):
    talk.ask(Ready(talk.outcomes.append, 60.0))
    assert talk.outcomes == []

    talk.up()
    talk.ask(Ready(talk.outcomes.append, 60.0))

    assert talk.outcomes == [None, None]
    assert talk.requests.is_idle


def test_a_server_that_never_answers_is_unreachable(talk):
    talk.ask(Ready(talk.outcomes.append, 5.0))
    talk.fetch(patience=7.0)
    assert talk.requests.next_wakeup() == 5.0

    talk.wait(5.0)
    assert len(talk.outcomes) == 1
    talk.wait(2.0)

    assert all(isinstance(outcome, ObjectStorageUnreachable) for outcome in talk.outcomes)
    assert "tcp://there:1" in str(talk.outcomes[0])
    assert talk.requests.is_idle


def test_a_server_that_refuses_fails_everything_now_and_later(talk):
    talk.fetch()
    talk.requests.on_connected()
    talk.answer(sm.StorageRefused("speaks version 7"))
    talk.fetch()

    assert [type(outcome) for outcome in talk.outcomes] == [ObjectStorageRefused] * 2
    assert "version 7" in str(talk.outcomes[0])


def test_a_found_object_is_opened_where_the_directory_is_shared(talk):
    talk.up(is_shared=True)
    talk.fetch()
    (request,) = talk.sent()
    assert request == sm.AwaitObject(request.request_id, KEY, True)

    talk.answer(sm.ObjectFound(request.request_id, 10, 1))

    assert talk.outcomes == [Found()]
    assert talk.sent() == []


def test_an_object_that_does_not_exist_is_not_found(talk):
    talk.up()
    talk.fetch(wait=False)
    (request,) = talk.sent()

    talk.answer(sm.ObjectMissing(request.request_id))

    assert isinstance(talk.outcomes[0], ObjectNotFound)
    assert KEY.hex() in str(talk.outcomes[0])


def test_a_wait_is_renewed_and_ends(talk):
    talk.up()
    talk.fetch(patience=25.0)
    (request,) = talk.sent()

    talk.wait(RENEWAL_SECONDS)
    assert talk.sent() == [request]
    talk.wait(RENEWAL_SECONDS)
    assert talk.sent() == [request]
    talk.wait(RENEWAL_SECONDS)

    assert talk.sent() == [sm.CancelAwait(request.request_id)]
    assert isinstance(talk.outcomes[0], ObjectNotFound)
    assert talk.requests.next_wakeup() is None


def test_a_request_that_is_taken_back_is_never_told(talk):
    talk.up()
    fetch = talk.fetch()
    (request,) = talk.sent()

    talk.requests.cancel(fetch, 0.0)
    talk.requests.cancel(fetch, 0.0)
    talk.answer(sm.ObjectFound(request.request_id, 10, 1))

    assert talk.sent() == [sm.CancelAwait(request.request_id)]
    assert talk.outcomes == []
    assert talk.requests.is_idle


def read_all(talk, content, limit=None):
    """Answer reads, as a server with this content does."""
    answered = 0
    while reads := [message for message in talk.sent() if isinstance(message, sm.ReadChunk)]:
        for read in reads:
            if answered == limit:
                return
            talk.answer(sm.ObjectChunk(read.request_id, content[read.offset : read.offset + read.length]))
            answered += 1


def test_an_object_is_streamed_where_nothing_is_shared(talk):
    content = bytes(range(256)) * 70_000
    talk.up()
    talk.fetch()
    (request,) = talk.sent()

    talk.answer(sm.ObjectFound(request.request_id, len(content), 3))
    read_all(talk, content)

    assert talk.outcomes == [content]
    assert talk.requests.is_idle


def test_an_empty_object_needs_no_reads(talk):
    talk.up()
    talk.fetch()
    (request,) = talk.sent()

    talk.answer(sm.ObjectFound(request.request_id, 0, 3))

    assert talk.outcomes == [b""]
    assert talk.sent() == []


def test_a_stream_goes_on_after_a_reconnect(talk):
    content = bytes(20 * CHUNK)
    talk.up()
    talk.fetch()
    (request,) = talk.sent()
    talk.answer(sm.ObjectFound(request.request_id, len(content), 3))
    read_all(talk, content, limit=5)

    talk.down()
    talk.up()
    read_all(talk, content)

    assert talk.outcomes == [content]


def test_an_object_that_is_replaced_while_it_is_read_is_read_anew(talk):
    talk.up()
    talk.fetch()
    (request,) = talk.sent()
    talk.answer(sm.ObjectFound(request.request_id, 3 * CHUNK, 3))
    first, second, third = talk.sent()
    talk.answer(sm.ObjectChunk(first.request_id, bytes(CHUNK)))

    talk.answer(sm.ObjectMissing(second.request_id))
    talk.answer(sm.ObjectChunk(third.request_id, bytes(CHUNK)))
    (again,) = talk.sent()
    assert again == sm.AwaitObject(again.request_id, KEY, True)
    talk.answer(sm.ObjectFound(again.request_id, 3, 4))
    read_all(talk, b"new")

    assert talk.outcomes == [b"new"]


def test_few_objects_travel_at_once(talk):
    talk.up()
    for number in range(MAX_TRANSFERS + 2):
        talk.fetch(b"%d" % number)
    requests = talk.sent()
    for request in requests:
        talk.answer(sm.ObjectFound(request.request_id, 10, 1))

    reads = talk.sent()
    assert len(reads) == MAX_TRANSFERS
    talk.answer(sm.ObjectChunk(reads[0].request_id, bytes(10)))

    assert [read.key for read in talk.sent()] == [b"%d" % MAX_TRANSFERS]


def test_an_object_that_cannot_be_kept_in_memory_is_an_error(talk):
    talk.up()
    talk.fetch()
    (request,) = talk.sent()

    talk.answer(sm.ObjectFound(request.request_id, 2**62, 1))

    assert isinstance(talk.outcomes[0], ObjectStorageError)
    assert talk.requests.is_idle


def test_a_stream_that_stops_is_given_up(talk):
    talk.up()
    talk.fetch(patience=10.0)
    (request,) = talk.sent()
    talk.answer(sm.ObjectFound(request.request_id, 20 * CHUNK, 3))
    first = talk.sent()[0]
    talk.wait(9.0)
    talk.answer(sm.ObjectChunk(first.request_id, bytes(CHUNK)))

    talk.wait(9.0)
    assert talk.outcomes == []
    talk.wait(1.0)

    assert isinstance(talk.outcomes[0], ObjectStorageUnreachable)


class Receiver:
    """A server that takes uploads."""

    def __init__(self, talk):
        self.talk = talk
        self.content = bytearray()
        self.upload_id = None

    def serve(self, limit=None):
        served = 0
        while messages := self.talk.sent():
            for message in messages:
                if isinstance(message, sm.BeginUpload):
                    if message.upload_id != self.upload_id:
                        self.upload_id, self.content = message.upload_id, bytearray()
                elif isinstance(message, sm.UploadChunk):
                    if served == limit:
                        return
                    served += 1
                    assert message.offset == len(self.content)
                    self.content += message.payload
                self.talk.answer(sm.UploadAt(message.request_id, len(self.content)))


@pytest.mark.parametrize("content", [b"", b"small", bytes(range(256)) * 70_000])
def test_an_object_is_uploaded(talk, content):
    talk.put(content)
    talk.up()
    receiver = Receiver(talk)

    receiver.serve()

    assert talk.outcomes == [None]
    assert receiver.content == content
    assert talk.requests.is_idle


def test_an_upload_goes_on_after_a_reconnect(talk):
    content = bytes(range(256)) * 70_000
    talk.up()
    receiver = Receiver(talk)
    talk.put(content)
    receiver.serve(limit=3)

    talk.down()
    talk.up()
    receiver.serve()

    assert talk.outcomes == [None]
    assert receiver.content == content


def test_an_upload_that_the_server_forgot_begins_again(talk):
    talk.up()
    receiver = Receiver(talk)
    talk.put(bytes(3 * CHUNK))
    (begin,) = talk.sent()
    talk.answer(sm.UploadAt(begin.request_id, 0))
    chunks = talk.sent()

    for chunk in chunks:
        talk.answer(sm.UploadUnknown(chunk.request_id))
    receiver.serve()

    assert receiver.upload_id != begin.upload_id
    assert talk.outcomes == [None]


def test_no_place_is_an_error_with_figures(talk):
    talk.up()
    talk.put(b"content")
    (begin,) = talk.sent()

    talk.answer(sm.StorageFailed(begin.request_id, "full", "/dev/shm/x", 100, 10))

    (error,) = talk.outcomes
    assert isinstance(error, ObjectStorageFull)
    assert (error.directory, error.needed_bytes, error.free_bytes) == ("/dev/shm/x", 100, 10)
    assert talk.requests.is_idle


def test_another_failure_is_an_error_with_its_reason(talk):
    talk.up()
    talk.put(b"content")
    (begin,) = talk.sent()

    talk.answer(sm.StorageFailed(begin.request_id, "cannot write"))

    assert type(talk.outcomes[0]) is ObjectStorageError
    assert "cannot write" in str(talk.outcomes[0])


def test_an_upload_that_is_given_up_is_abandoned(talk):
    talk.up()
    talk.put(b"content", patience=5.0)
    (begin,) = talk.sent()

    talk.wait(5.0)

    assert talk.sent() == [sm.AbandonUpload(begin.upload_id)]
    assert isinstance(talk.outcomes[0], ObjectStorageUnreachable)


def test_orders_are_repeated_until_they_are_done(talk):
    talk.up()
    talk.requests.announce([b"1"])
    talk.requests.delete([b"2"])
    talk.requests.delete_owner(OWNER)
    orders = talk.sent()
    assert orders == [
        sm.AnnounceObjects(orders[0].request_id, [b"1"]),
        sm.DeleteObjects(orders[1].request_id, [b"2"]),
        sm.DeleteOwner(orders[2].request_id, OWNER),
    ]
    talk.answer(sm.Done(orders[0].request_id))
    assert not talk.requests.is_idle

    talk.down()
    talk.up()
    assert talk.sent() == orders[1:]
    for order in orders:
        talk.answer(sm.Done(order.request_id))

    assert talk.requests.is_idle


def test_announcements_gather_while_the_server_is_away(talk):
    for number in range(100):
        talk.requests.announce([b"%d" % number])

    talk.up()

    (order,) = talk.sent()
    assert len(order.keys) == 100


def test_many_keys_go_in_several_messages(talk):
    talk.up()

    talk.requests.delete([b"%d" % number for number in range(2 * MAX_KEYS + 1)])

    assert [len(message.keys) for message in talk.sent()] == [MAX_KEYS, MAX_KEYS, 1]


def test_figures_are_asked_for_after_what_was_ordered(talk):
    talk.requests.announce([b"1"])
    talk.ask(Count(talk.outcomes.append, 60.0))
    talk.up()
    announce, count = talk.sent()
    figures = sm.Statistics(count.request_id, 0, 0, 0, 0, [])
    assert isinstance(announce, sm.AnnounceObjects)

    talk.answer(figures)

    assert talk.outcomes == [figures]


def test_closing_fails_what_is_waited_for(talk):
    talk.up()
    talk.fetch()
    talk.put(b"content")

    for settled in talk.requests.fail_all():
        talk.outcomes.append(settled.outcome)

    assert [type(outcome) for outcome in talk.outcomes] == [ObjectStorageClosed] * 2


def test_answers_to_nothing_are_ignored(talk):
    talk.up()
    for message in (
        sm.Done(99),
        sm.ObjectFound(99, 1, 1),
        sm.ObjectMissing(99),
        sm.ObjectChunk(99, b"x"),
        sm.UploadAt(99, 1),
        sm.UploadUnknown(99),
        sm.StorageFailed(99, "x"),
        sm.Statistics(99, 0, 0, 0, 0, []),
        sm.AwaitObject(99, KEY, True),
    ):
        talk.answer(message)

    assert talk.sent() == []
    assert talk.outcomes == []
