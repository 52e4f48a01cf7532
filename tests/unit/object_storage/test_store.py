"""What the server decides, event by event."""

import pytest

from scaler_object_storage.core import events as e
from scaler_object_storage.core import store as rules
from scaler_object_storage.core.store import UPLOAD_SECONDS, WAIT_SECONDS, Greeting, Store
from scaler_object_storage.header import Header
from scaler_protocol import storage_messages as sm
from scaler_protocol.messages import PRODUCT, PROTOCOL_VERSION

A, B = b"route a", b"route b"
KEY, OWNER, UPLOAD = b"key", b"owner", b"u" * 16
HEADER = Header(KEY, OWNER, 7, 99)
FULL = sm.StorageFailed(0, "full", "/dev/shm/x", 100, 10)


@pytest.fixture
def store():
    store = Store(Greeting(b"i" * 16, "d" * 32, b"n" * 16))
    yield store
    store.check()


def ask(store, message, route=A, now=0.0):
    return store.handle(e.Received(route, message), now)


def settle(store, effects, now=0.0):
    """Carry out what needs no files: everything that comes at last of these effects."""
    done = []
    for effect in effects:
        if isinstance(effect, e.Then):
            done += settle(store, store.handle(effect.event, now), now)
        else:
            done.append(effect)
    return done


def statistics(store):
    *_, effect = settle(store, ask(store, sm.AskStatistics(1)))
    return effect.statistics


# ---- who is there


def test_a_peer_is_told_where_the_objects_lie(store):
    assert ask(store, sm.StorageHello(PRODUCT, PROTOCOL_VERSION, "c")) == [
        e.Reply(A, sm.StorageWelcome(b"i" * 16, "d" * 32, b"n" * 16))
    ]


@pytest.mark.parametrize("hello", [("other", PROTOCOL_VERSION), (PRODUCT, PROTOCOL_VERSION + 1)])
def test_a_peer_of_another_protocol_gets_one_line(store, hello):
    log, reply = ask(store, sm.StorageHello(*hello, "c"))

    assert str(hello[1]) in reply.message.reason
    assert reply.message.reason in log.text
    assert "\n" not in log.text


def test_answers_sent_to_the_server_are_ignored(store):
    assert ask(store, sm.Done(1)) == []


# ---- objects


def test_an_announced_key_is_not_believed_but_looked_at_when_somebody_wants_to_know(store):
    assert ask(store, sm.AnnounceObjects(4, [b"1", b"2"])) == [e.Reply(A, sm.Done(4))]

    effects = settle(store, ask(store, sm.AskStatistics(5)))

    assert set(map(repr, effects[:2])) == {repr(e.Look(b"1")), repr(e.Look(b"2"))}
    assert effects[2].statistics.objects == 0
    assert len(settle(store, ask(store, sm.AskStatistics(6)))) == 1


def test_an_announced_key_that_somebody_waits_for_is_looked_at_at_once(store):
    ask(store, sm.AwaitObject(1, b"2", True))

    assert ask(store, sm.AnnounceObjects(4, [b"1", b"2"])) == [e.Look(b"2"), e.Reply(A, sm.Done(4))]


def test_of_a_replaced_object_nothing_is_known_until_it_is_looked_at(store):
    store.handle(e.Seen(HEADER), 0)
    ask(store, sm.AnnounceObjects(4, [KEY]))

    assert statistics(store).objects == 0
    assert store.handle(e.Listed([KEY]), 0) == [e.Look(KEY)]


def test_announced_keys_that_nobody_asks_for_are_looked_at_when_they_are_many(store, monkeypatch):
    monkeypatch.setattr(rules, "MAX_UNSEEN", 2)
    ask(store, sm.AnnounceObjects(4, [b"1", b"2"]))

    assert len(ask(store, sm.AnnounceObjects(5, [b"3"]))) == 4


def test_what_was_seen_is_counted_for_its_owner(store):
    store.handle(e.Seen(HEADER), 0)
    store.handle(e.Seen(Header(b"k2", OWNER, 3, 1)), 0)
    store.handle(e.Seen(Header(b"k3", b"else", 1, 1)), 0)

    shares = statistics(store).owners

    assert sorted((share.owner, share.objects, share.size) for share in shares) == [(b"else", 1, 1), (OWNER, 2, 10)]


def test_a_replaced_object_counts_once_for_its_new_owner(store):
    store.handle(e.Seen(HEADER), 0)
    store.handle(e.Seen(Header(KEY, b"else", 3, 100)), 0)

    assert statistics(store).owners == [sm.OwnerShare(b"else", 1, 3)]


def test_a_deleted_key_is_removed_known_or_not(store):
    store.handle(e.Seen(HEADER), 0)

    effects = ask(store, sm.DeleteObjects(5, [KEY, b"unknown"]))

    assert effects == [e.RemoveFiles([KEY, b"unknown"]), e.Reply(A, sm.Done(5))]
    assert statistics(store).objects == 0


def test_an_owners_objects_are_deleted_after_all_files_are_known(store):
    store.handle(e.Seen(HEADER), 0)
    store.handle(e.Seen(Header(b"other", b"else", 1, 1)), 0)
    list_files, then = ask(store, sm.DeleteOwner(6, OWNER))
    assert list_files == e.ListFiles()
    assert store.handle(e.Listed([KEY, b"other", b"unannounced"]), 0) == [e.Look(b"unannounced")]
    store.handle(e.Seen(Header(b"unannounced", OWNER, 1, 1)), 0)

    remove, reply = store.handle(then.event, 0)

    assert set(remove.keys) == {KEY, b"unannounced"}
    assert reply == e.Reply(A, sm.Done(6))
    assert [share.owner for share in statistics(store).owners] == [b"else"]


def test_files_that_vanished_are_forgotten(store):
    store.handle(e.Seen(HEADER), 0)
    store.handle(e.Seen(Header(b"k2", OWNER, 3, 1)), 0)

    assert store.handle(e.Listed([b"k2"]), 0) == []
    store.handle(e.Gone(b"k2"), 0)

    assert statistics(store).owners == []


# ---- waiting


def test_who_waits_is_told_when_the_object_exists(store):
    assert ask(store, sm.AwaitObject(8, KEY, True)) == [e.Look(KEY)]
    assert store.handle(e.Gone(KEY), 0) == []
    ask(store, sm.AwaitObject(9, KEY, True), B)

    replies = store.handle(e.Seen(HEADER), 0)

    assert replies == [e.Reply(A, sm.ObjectFound(8, 7, 99)), e.Reply(B, sm.ObjectFound(9, 7, 99))]
    assert store.handle(e.Seen(HEADER), 0) == []


def test_who_does_not_wait_is_told_that_there_is_none(store):
    ask(store, sm.AwaitObject(8, KEY, False))

    assert store.handle(e.Gone(KEY), 0) == [e.Reply(A, sm.ObjectMissing(8))]
    assert statistics(store).waiting == 0


def test_a_wait_can_be_taken_back(store):
    ask(store, sm.AwaitObject(8, KEY, True))

    ask(store, sm.CancelAwait(8))
    ask(store, sm.CancelAwait(8))

    assert store.handle(e.Seen(HEADER), 0) == []


def test_a_repeated_wait_is_answered_once(store):
    ask(store, sm.AwaitObject(8, KEY, True))
    ask(store, sm.AwaitObject(8, KEY, True))

    assert len(store.handle(e.Seen(HEADER), 0)) == 1


def test_a_wait_that_is_not_renewed_is_forgotten(store):
    ask(store, sm.AwaitObject(1, KEY, True), now=0.0)
    ask(store, sm.AwaitObject(2, KEY, True), now=5.0)
    ask(store, sm.AwaitObject(1, KEY, True), now=10.0)
    assert store.next_wakeup() == 5.0 + WAIT_SECONDS

    store.handle(e.Tick(), 5.0 + WAIT_SECONDS)

    assert store.handle(e.Seen(HEADER), 0) == [e.Reply(A, sm.ObjectFound(1, 7, 99))]
    assert store.next_wakeup() is None


def test_waits_are_bounded(store, monkeypatch):
    monkeypatch.setattr(rules, "MAX_WAITS", 2)
    for request_id in range(5):
        ask(store, sm.AwaitObject(request_id, KEY, True))

    assert statistics(store).waiting == 2


# ---- reading


def test_a_chunk_is_read_by_the_driver(store):
    request = sm.ReadChunk(3, KEY, 99, 0, sm.CHUNK_BYTES)

    assert ask(store, request) == [e.SendChunk(A, request)]


@pytest.mark.parametrize(("offset", "length"), [(0, 0), (0, sm.CHUNK_BYTES + 1), (2**63, 1)])
def test_an_absurd_chunk_is_refused(store, offset, length):
    (reply,) = ask(store, sm.ReadChunk(3, KEY, 99, offset, length))

    assert isinstance(reply.message, sm.StorageFailed)


# ---- uploads


def begin(store, size=6, *, route=A, request_id=20, now=0.0):
    return settle(store, ask(store, sm.BeginUpload(request_id, UPLOAD, KEY, OWNER, size), route, now), now)


def chunk(store, offset, payload, *, route=A, request_id=20, now=0.0):
    return settle(store, ask(store, sm.UploadChunk(request_id, UPLOAD, offset, payload), route, now), now)


def test_an_upload_is_allocated_written_and_committed(store):
    assert begin(store) == [e.Allocate(UPLOAD, 6), e.Reply(A, sm.UploadAt(20, 0))]
    assert chunk(store, 0, b"abc") == [e.WriteChunk(UPLOAD, 0, b"abc"), e.Reply(A, sm.UploadAt(20, 3))]
    assert chunk(store, 3, b"def") == [
        e.WriteChunk(UPLOAD, 3, b"def"),
        e.Commit(UPLOAD, KEY, OWNER),
        e.Reply(A, sm.UploadAt(20, 6)),
    ]


def test_an_empty_upload_is_committed_at_once(store):
    assert begin(store, 0) == [
        e.Allocate(UPLOAD, 0),
        e.Commit(UPLOAD, KEY, OWNER),
        e.Reply(A, sm.UploadAt(20, 0)),
    ]


def test_an_upload_goes_on_over_another_connection(store):
    begin(store)
    chunk(store, 0, b"abc")

    assert begin(store, route=B, request_id=20) == [e.Reply(B, sm.UploadAt(20, 3))]
    assert chunk(store, 3, b"def", route=B)[-1] == e.Reply(B, sm.UploadAt(20, 6))


def test_a_finished_upload_is_remembered_for_who_did_not_hear(store):
    begin(store)
    chunk(store, 0, b"abcdef")

    assert begin(store, route=B) == [e.Reply(B, sm.UploadAt(20, 6))]
    assert ask(store, sm.AbandonUpload(UPLOAD)) == []


@pytest.mark.parametrize(("offset", "payload"), [(0, b"ab"), (4, b"ab"), (3, b""), (3, b"defg"), (2**64 - 1, b"a")])
def test_bytes_that_do_not_follow_are_answered_with_where_it_is(store, offset, payload):
    begin(store)
    chunk(store, 0, b"abc")

    assert chunk(store, offset, payload) == [e.Reply(A, sm.UploadAt(20, 3))]


def test_bytes_of_an_unknown_upload_are_told_so(store):
    assert chunk(store, 0, b"abc") == [e.Reply(A, sm.UploadUnknown(20))]


def test_a_failed_allocation_is_the_answer(store):
    _, then = ask(store, sm.BeginUpload(20, UPLOAD, KEY, OWNER, 6))
    assert store.handle(e.UploadFailed(UPLOAD, FULL), 0) == [
        e.Discard(UPLOAD),
        e.Reply(A, sm.StorageFailed(20, "full", "/dev/shm/x", 100, 10)),
    ]

    assert settle(store, [then]) == []
    assert statistics(store).uploads == 0


def test_a_failed_write_ends_the_upload(store):
    begin(store)
    _, then = ask(store, sm.UploadChunk(20, UPLOAD, 0, b"abc"))
    store.handle(e.UploadFailed(UPLOAD, FULL), 0)

    assert settle(store, [then]) == []
    assert store.handle(e.UploadFailed(UPLOAD, FULL), 0) == []
    assert chunk(store, 3, b"def") == [e.Reply(A, sm.UploadUnknown(20))]


def test_an_abandoned_upload_gives_its_memory_back(store):
    begin(store)

    assert ask(store, sm.AbandonUpload(UPLOAD)) == [e.Discard(UPLOAD)]
    assert ask(store, sm.AbandonUpload(UPLOAD)) == []


def test_an_upload_without_progress_gives_its_memory_back(store):
    begin(store, now=0.0)
    chunk(store, 0, b"abc", now=10.0)
    assert store.next_wakeup() == 10.0 + UPLOAD_SECONDS
    assert store.handle(e.Tick(), 9.0 + UPLOAD_SECONDS) == []

    assert store.handle(e.Tick(), 10.0 + UPLOAD_SECONDS) == [e.Discard(UPLOAD)]


def test_a_finished_upload_is_forgotten_quietly(store):
    begin(store, 0)

    assert store.handle(e.Tick(), UPLOAD_SECONDS) == []
    assert store.next_wakeup() is None


def test_uploads_are_bounded_in_number_and_size(store, monkeypatch):
    (reply,) = begin(store, 2**63)
    assert isinstance(reply.message, sm.StorageFailed)

    monkeypatch.setattr(rules, "MAX_UPLOADS", 0)
    (reply,) = begin(store)
    assert isinstance(reply.message, sm.StorageFailed)
