"""Objects in chunks, few of them at a time."""

from scaler_object_storage.core.transfers import WINDOW_BYTES, Download, Upload
from scaler_object_storage.values import Parts
from scaler_protocol import storage_messages as sm

CHUNK = sm.CHUNK_BYTES
CONTENT = b"".join(bytes([number]) * CHUNK for number in range(12)) + b"the end"


def new_upload(content=CONTENT):
    return Upload(1, b"u" * 16, Parts.of(content))


def test_no_more_is_sent_than_the_window_until_some_is_answered():
    upload = new_upload()
    upload.on_position(0)

    first = list(upload.chunks())
    assert [chunk.offset for chunk in first] == [CHUNK * number for number in range(WINDOW_BYTES // CHUNK)]
    assert list(upload.chunks()) == []

    upload.on_position(2 * CHUNK)
    assert [chunk.offset for chunk in upload.chunks()] == [WINDOW_BYTES, WINDOW_BYTES + CHUNK]


def test_the_chunks_are_the_object():
    upload, received = new_upload(), bytearray()
    upload.on_position(0)
    while not upload.is_complete:
        for chunk in list(upload.chunks()):
            received += chunk.payload
            assert upload.on_position(len(received))

    assert received == CONTENT


def test_after_a_reconnect_it_goes_on_where_the_server_is():
    upload = new_upload()
    upload.on_position(0)
    list(upload.chunks())
    upload.on_position(CHUNK)

    upload.on_reconnected()
    upload.on_position(3 * CHUNK)

    assert next(upload.chunks()).offset == 3 * CHUNK


def test_what_was_lost_is_sent_again_once_nothing_is_under_way():
    upload = new_upload(CONTENT[: 2 * CHUNK])
    upload.on_position(0)
    assert len(list(upload.chunks())) == 2
    upload.on_position(0)
    assert list(upload.chunks()) == []

    assert not upload.on_position(0)

    assert [chunk.offset for chunk in upload.chunks()] == [0, CHUNK]


def test_an_empty_object_is_stored_with_the_first_answer():
    upload = new_upload(b"")
    assert not upload.is_complete

    upload.on_position(0)

    assert upload.is_complete


def test_a_download_asks_for_a_window_and_gathers_in_any_order():
    download = Download(len(CONTENT), 5)
    offsets = list(download.offsets_to_read())
    assert offsets == [CHUNK * number for number in range(WINDOW_BYTES // CHUNK)]

    while offsets:
        read = download.read(1, b"key", offsets.pop())
        assert (read.key, read.version) == (b"key", 5)
        assert download.accept(read.offset, CONTENT[read.offset : read.offset + read.length])
        offsets += download.offsets_to_read()
        assert len(offsets) <= WINDOW_BYTES // CHUNK

    assert download.is_complete
    assert download.content() == CONTENT
    assert download.content().readonly


def test_a_chunk_of_another_length_is_refused():
    download = Download(10, 5)
    list(download.offsets_to_read())

    assert not download.accept(0, b"short")
    assert not download.is_complete


def test_an_empty_object_is_complete_from_the_start():
    download = Download(0, 5)

    assert download.is_complete
    assert download.content() == b""
