"""Objects as files: committed whole or not at all, replaced without harm to readers, never SIGBUS."""

import errno
import fcntl
import os
import shutil

import pytest

from scaler_object_storage import object_file
from scaler_object_storage.errors import ObjectStorageFull
from scaler_object_storage.folder import Folder
from scaler_object_storage.free_files import FREE, rounded
from scaler_object_storage.header import HEADER_BYTES
from scaler_object_storage.object_file import (
    PART_SUFFIX,
    PartFile,
    make_free,
    map_object,
    read_chunk,
    read_header,
    recycle,
    write_object,
)
from scaler_object_storage.pins import PINS
from scaler_object_storage.values import Parts

KEY, OWNER = b"key", b"o" * 16


BIG = 1 << 20


@pytest.fixture
def folder(tmp_path):
    (tmp_path / FREE).mkdir()
    return Folder(tmp_path)


def reusable(folder):
    return list((folder.path / FREE).iterdir())


def names(folder):
    return [path.name for path in folder.path.iterdir() if path.name not in {PINS, FREE}]


def parts_of(folder):
    return list(folder.path.glob(f"*{PART_SUFFIX}"))


def object_path(folder, key):
    return folder.path / key.hex()


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 1000])
def test_what_was_written_is_mapped(folder, content):
    header = write_object(folder, KEY, OWNER, Parts.of(content[:5], content[5:]))

    assert map_object(folder, KEY) == content
    assert read_header(folder, KEY) == header
    assert (header.key, header.owner, header.size) == (KEY, OWNER, len(content))
    assert names(folder) == [KEY.hex()]


def test_more_pieces_than_one_call_takes_are_written(folder):
    pieces = [bytes([number % 256]) * (number % 7) for number in range(5000)]

    write_object(folder, KEY, OWNER, Parts(pieces))

    assert map_object(folder, KEY) == b"".join(pieces)


def test_calls_that_write_less_than_asked_are_repeated(folder, monkeypatch):
    real = os.pwritev
    monkeypatch.setattr(object_file.os, "pwritev", lambda fd, pieces, at: real(fd, [pieces[0][:3]], at))

    write_object(folder, KEY, OWNER, Parts.of(b"abcdefgh", b"", b"ij"))

    assert map_object(folder, KEY) == b"abcdefghij"


def test_the_bytes_are_aligned(folder):
    assert HEADER_BYTES % 64 == 0


def test_there_is_no_object_before_the_commit(folder):
    part = PartFile(folder, 10)
    part.write(0, [b"0123456789"])

    assert map_object(folder, KEY) is None
    assert read_header(folder, KEY) is None

    part.commit(KEY, OWNER)
    assert map_object(folder, KEY) == b"0123456789"


def test_an_unfinished_file_under_a_final_name_is_no_object(folder):
    object_path(folder, KEY).write_bytes(bytes(HEADER_BYTES + 10))
    object_path(folder, b"short").write_bytes(b"abc")

    assert map_object(folder, KEY) is None
    assert map_object(folder, b"short") is None
    assert read_header(folder, KEY) is None
    assert read_header(folder, b"short") is None


def test_a_file_that_was_cut_off_is_no_object(folder):
    write_object(folder, KEY, OWNER, Parts.of(bytes(10000)))
    os.truncate(object_path(folder, KEY), 5000)

    assert map_object(folder, KEY) is None
    assert read_header(folder, KEY) is None


def test_a_file_under_another_objects_name_is_no_object(folder):
    write_object(folder, KEY, OWNER, Parts.of(b"content"))
    object_path(folder, KEY).rename(object_path(folder, b"other"))

    assert map_object(folder, b"other") is None


def test_a_replaced_object_stays_with_who_has_mapped_it(folder):
    first = write_object(folder, KEY, OWNER, Parts.of(b"first"))
    view = map_object(folder, KEY)

    second = write_object(folder, KEY, OWNER, Parts.of(b"second"))
    object_path(folder, KEY).unlink()

    assert view == b"first"
    assert first.version != second.version


def test_chunks_are_of_one_version(folder):
    first = write_object(folder, KEY, OWNER, Parts.of(b"0123456789"))
    assert read_chunk(folder, KEY, first.version, 4, 3) == b"456"
    assert read_chunk(folder, KEY, first.version, 8, 3) is None
    assert read_chunk(folder, b"none", first.version, 0, 1) is None

    write_object(folder, KEY, OWNER, Parts.of(b"abcdefghij"))

    assert read_chunk(folder, KEY, first.version, 4, 3) is None


def test_the_writer_holds_a_lock_until_it_has_committed(folder):
    part = PartFile(folder, 10)
    with parts_of(folder)[0].open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    part.discard()

    assert names(folder) == []


def test_more_than_there_is_memory_is_refused_at_once(folder):
    with pytest.raises(ObjectStorageFull) as caught:
        PartFile(folder, folder.free_bytes() * 2)

    error = caught.value
    assert error.directory == str(folder.path)
    assert error.needed_bytes > error.free_bytes > 0
    assert str(folder.path) in str(error)
    assert str(error.needed_bytes) in str(error)
    assert names(folder) == []


def test_memory_that_is_taken_meanwhile_is_the_same_error(folder, monkeypatch):
    def full(descriptor, start, length):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(object_file.os, "posix_fallocate", full)

    with pytest.raises(ObjectStorageFull):
        write_object(folder, KEY, OWNER, Parts.of(b"content"))

    assert names(folder) == []


def test_a_failed_write_leaves_nothing(folder, monkeypatch):
    def broken(descriptor, pieces, at):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(object_file.os, "pwritev", broken)

    with pytest.raises(OSError, match="Input/output"):
        write_object(folder, KEY, OWNER, Parts.of(b"content"))

    assert names(folder) == []


def test_a_folder_that_was_removed_is_told_apart(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    folder = Folder(path)
    assert folder.is_current
    path.rename(tmp_path / "removed")
    path.mkdir()
    shutil.rmtree(tmp_path / "removed")

    with pytest.raises(FileNotFoundError):
        write_object(folder, KEY, OWNER, Parts.of(b"content"))
    assert map_object(folder, KEY) is None
    assert not folder.is_current
    with pytest.raises(FileNotFoundError):
        Folder(tmp_path / "none")


# ---- files that are written again


def test_a_deleted_objects_file_is_written_again(folder):
    write_object(folder, KEY, OWNER, Parts.of(bytes(BIG)))
    inode = object_path(folder, KEY).stat().st_ino

    recycle(folder, KEY)
    assert map_object(folder, KEY) is None
    assert names(folder) == []
    content = os.urandom(BIG - 5)
    write_object(folder, b"other", OWNER, Parts.of(content))

    assert object_path(folder, b"other").stat().st_ino == inode
    assert map_object(folder, b"other") == content
    assert read_chunk(folder, b"other", read_header(folder, b"other").version, BIG - 8, 3) == content[-3:]
    assert reusable(folder) == []


def test_what_somebody_looks_at_is_not_written_again(folder):
    content = os.urandom(BIG)
    write_object(folder, KEY, OWNER, Parts.of(content))
    view = map_object(Folder(folder.path), KEY)[10:]

    held = recycle(folder, KEY)

    assert names(folder) == [held]
    assert reusable(folder) == []
    write_object(folder, b"other", OWNER, Parts.of(bytes(BIG)))
    assert view == content[10:]
    assert make_free(folder, held) is None


def test_what_was_marked_is_not_written_again(folder):
    write_object(folder, KEY, OWNER, Parts.of(bytes(BIG)))
    object_path(folder, KEY).chmod(0o400)

    assert recycle(folder, KEY) is None

    assert names(folder) == reusable(folder) == []


def test_what_is_marked_in_the_last_moment_is_not_written_again(folder, monkeypatch):
    write_object(folder, KEY, OWNER, Parts.of(bytes(BIG)))
    claim = folder.pins.claim

    def late(inode):
        (part,) = parts_of(folder)
        part.chmod(0o400)
        return claim(inode)

    monkeypatch.setattr(folder.pins, "claim", late)

    assert recycle(folder, KEY) is None
    assert names(folder) == reusable(folder) == []


def test_what_somebody_looked_at_is_written_again(folder):
    write_object(folder, KEY, OWNER, Parts.of(bytes(BIG)))
    reader = Folder(folder.path)
    assert map_object(reader, KEY) == bytes(BIG)
    reader.pins.release()

    recycle(folder, KEY)

    assert len(reusable(folder)) == 1


def test_who_opened_a_file_before_it_was_freed_does_not_take_it_for_the_object(folder, monkeypatch):
    write_object(folder, KEY, OWNER, Parts.of(bytes(BIG)))
    pin = folder.pins.pin

    def late(descriptor, inode):
        recycle(folder, KEY)
        write_object(folder, b"other", OWNER, Parts.of(os.urandom(BIG)))
        return pin(descriptor, inode)

    reader = Folder(folder.path)
    monkeypatch.setattr(reader.pins, "pin", late)

    assert map_object(reader, KEY) is None


def test_a_file_that_was_replaced_just_before_it_was_freed_is_not_mixed_up(folder, monkeypatch):
    content = os.urandom(BIG)
    write_object(folder, KEY, OWNER, Parts.of(bytes(BIG)))
    rename = folder.rename
    views = []

    def late(old, new):
        if old == KEY.hex():
            write_object(Folder(folder.path), KEY, OWNER, Parts.of(content))
            views.append(map_object(Folder(folder.path), KEY))
        rename(old, new)

    monkeypatch.setattr(folder, "rename", late)
    recycle(folder, KEY)

    assert reusable(folder) == []
    assert views[0] == content


def test_small_objects_go_at_once(folder):
    write_object(folder, KEY, OWNER, Parts.of(b"content"))

    recycle(folder, KEY)
    recycle(folder, b"none")

    assert names(folder) == reusable(folder) == []


def test_memory_that_waits_to_be_used_again_is_given_back_where_it_is_short(folder, monkeypatch):
    write_object(folder, KEY, OWNER, Parts.of(bytes(BIG)))
    recycle(folder, KEY)
    real = os.posix_fallocate

    def full(descriptor, start, length):
        if reusable(folder):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor, start, length)

    monkeypatch.setattr(object_file.os, "posix_fallocate", full)

    write_object(folder, b"other", OWNER, Parts.of(bytes(3 * BIG)))

    assert map_object(folder, b"other") == bytes(3 * BIG)
    assert object_path(folder, b"other").stat().st_size <= rounded(3 * BIG + HEADER_BYTES)
