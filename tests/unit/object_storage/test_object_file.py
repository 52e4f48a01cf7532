"""Objects as files: committed whole or not at all, replaced without harm to readers, never SIGBUS."""

import errno
import fcntl
import os

import pytest

from scaler_object_storage import object_file
from scaler_object_storage.errors import ObjectStorageFull
from scaler_object_storage.header import HEADER_BYTES
from scaler_object_storage.object_file import (
    PART_SUFFIX,
    PartFile,
    free_bytes,
    map_object,
    object_path,
    read_chunk,
    read_header,
    write_object,
)
from scaler_object_storage.values import Parts

KEY, OWNER = b"key", b"o" * 16


def names(folder):
    return [path.name for path in folder.iterdir()]


def parts_of(folder):
    return list(folder.glob(f"*{PART_SUFFIX}"))


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 1000])
def test_what_was_written_is_mapped(tmp_path, content):
    header = write_object(tmp_path, KEY, OWNER, Parts.of(content[:5], content[5:]))

    assert map_object(tmp_path, KEY) == content
    assert read_header(tmp_path, KEY) == header
    assert (header.key, header.owner, header.size) == (KEY, OWNER, len(content))
    assert names(tmp_path) == [KEY.hex()]


def test_more_pieces_than_one_call_takes_are_written(tmp_path):
    pieces = [bytes([number % 256]) * (number % 7) for number in range(5000)]

    write_object(tmp_path, KEY, OWNER, Parts(pieces))

    assert map_object(tmp_path, KEY) == b"".join(pieces)


def test_calls_that_write_less_than_asked_are_repeated(tmp_path, monkeypatch):
    real = os.pwritev
    monkeypatch.setattr(object_file.os, "pwritev", lambda fd, pieces, at: real(fd, [pieces[0][:3]], at))

    write_object(tmp_path, KEY, OWNER, Parts.of(b"abcdefgh", b"", b"ij"))

    assert map_object(tmp_path, KEY) == b"abcdefghij"


def test_the_bytes_are_aligned(tmp_path):
    assert HEADER_BYTES % 64 == 0


def test_there_is_no_object_before_the_commit(tmp_path):
    part = PartFile(tmp_path, 10)
    part.write(0, [b"0123456789"])

    assert map_object(tmp_path, KEY) is None
    assert read_header(tmp_path, KEY) is None

    part.commit(KEY, OWNER)
    assert map_object(tmp_path, KEY) == b"0123456789"


def test_an_unfinished_file_under_a_final_name_is_no_object(tmp_path):
    object_path(tmp_path, KEY).write_bytes(bytes(HEADER_BYTES + 10))
    object_path(tmp_path, b"short").write_bytes(b"abc")

    assert map_object(tmp_path, KEY) is None
    assert map_object(tmp_path, b"short") is None
    assert read_header(tmp_path, KEY) is None
    assert read_header(tmp_path, b"short") is None


def test_a_file_that_was_cut_off_is_no_object(tmp_path):
    write_object(tmp_path, KEY, OWNER, Parts.of(bytes(10000)))
    os.truncate(object_path(tmp_path, KEY), 5000)

    assert map_object(tmp_path, KEY) is None
    assert read_header(tmp_path, KEY) is None


def test_a_file_under_another_objects_name_is_no_object(tmp_path):
    write_object(tmp_path, KEY, OWNER, Parts.of(b"content"))
    object_path(tmp_path, KEY).rename(object_path(tmp_path, b"other"))

    assert map_object(tmp_path, b"other") is None


def test_a_replaced_object_stays_with_who_has_mapped_it(tmp_path):
    first = write_object(tmp_path, KEY, OWNER, Parts.of(b"first"))
    view = map_object(tmp_path, KEY)

    second = write_object(tmp_path, KEY, OWNER, Parts.of(b"second"))
    object_path(tmp_path, KEY).unlink()

    assert view == b"first"
    assert first.version != second.version


def test_chunks_are_of_one_version(tmp_path):
    first = write_object(tmp_path, KEY, OWNER, Parts.of(b"0123456789"))
    assert read_chunk(tmp_path, KEY, first.version, 4, 3) == b"456"
    assert read_chunk(tmp_path, KEY, first.version, 8, 3) is None
    assert read_chunk(tmp_path, b"none", first.version, 0, 1) is None

    write_object(tmp_path, KEY, OWNER, Parts.of(b"abcdefghij"))

    assert read_chunk(tmp_path, KEY, first.version, 4, 3) is None


def test_the_writer_holds_a_lock_until_it_has_committed(tmp_path):
    part = PartFile(tmp_path, 10)
    with parts_of(tmp_path)[0].open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    part.discard()

    assert names(tmp_path) == []


def test_more_than_there_is_memory_is_refused_at_once(tmp_path):
    with pytest.raises(ObjectStorageFull) as caught:
        PartFile(tmp_path, free_bytes(tmp_path) * 2)

    error = caught.value
    assert error.directory == str(tmp_path)
    assert error.needed_bytes > error.free_bytes > 0
    assert str(tmp_path) in str(error)
    assert str(error.needed_bytes) in str(error)
    assert names(tmp_path) == []


def test_memory_that_is_taken_meanwhile_is_the_same_error(tmp_path, monkeypatch):
    def full(descriptor, start, length):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(object_file.os, "posix_fallocate", full)

    with pytest.raises(ObjectStorageFull):
        write_object(tmp_path, KEY, OWNER, Parts.of(b"content"))

    assert names(tmp_path) == []


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def broken(descriptor, pieces, at):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(object_file.os, "pwritev", broken)

    with pytest.raises(OSError, match="Input/output"):
        write_object(tmp_path, KEY, OWNER, Parts.of(b"content"))

    assert names(tmp_path) == []


def test_a_missing_folder_is_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_object(tmp_path / "none", KEY, OWNER, Parts.of(b"content"))

    assert map_object(tmp_path / "none", KEY) is None
    assert free_bytes(tmp_path / "none") == 0
