"""Values read right into `bytes` objects: whole and of one version, or not at all."""

import os

import pytest

from scaler_object_storage import object_file
from scaler_object_storage.folder import Folder
from scaler_object_storage.free_files import FREE
from scaler_object_storage.object_file import read_value, recycle, write_object
from scaler_object_storage.values import Parts, dump_parts

KEY, OWNER = b"key", b"o" * 16
BIG = 1 << 20


@pytest.fixture
def folder(tmp_path):
    (tmp_path / FREE).mkdir()
    return Folder(tmp_path)


def value(*contents):
    return dump_parts([b"stream"], [memoryview(content) for content in contents])


@pytest.mark.parametrize("sizes", [(1,), (BIG,), (5000, 0, BIG - 1)])
def test_what_was_written_is_read(folder, sizes):
    contents = [os.urandom(size) for size in sizes]
    write_object(folder, KEY, OWNER, value(*contents))

    pieces = read_value(folder, KEY)

    assert pieces == (b"stream", contents)
    assert all(type(buffer) is bytes for buffer in pieces.buffers)


def test_nothing_is_pinned(folder):
    write_object(folder, KEY, OWNER, value(bytes(BIG)))
    pieces = read_value(Folder(folder.path), KEY)

    assert recycle(folder, KEY) is None

    assert len(list((folder.path / FREE).iterdir())) == 1
    assert pieces.buffers == [bytes(BIG)]


@pytest.mark.parametrize(
    "parts",
    [value(), value(bytearray(BIG)), value(b"x", bytearray(9)), Parts.of(b""), Parts.of(b"\1" + bytes(BIG))],
    ids=["no buffer", "an array", "both", "nothing", "no value"],
)
def test_anything_else_is_to_be_mapped(folder, parts):
    write_object(folder, KEY, OWNER, parts)
    assert read_value(folder, KEY) is None


def test_more_than_one_call_can_read_is_to_be_mapped_without_reading_it(folder, monkeypatch):
    def counted(descriptor, length, at):
        lengths.append(length)
        return pread(descriptor, length, at)

    write_object(folder, KEY, OWNER, value(bytes(BIG)))
    lengths, pread = [], os.pread
    monkeypatch.setattr(object_file.os, "pread", counted)
    monkeypatch.setattr(object_file, "_MOST_READ_BYTES", BIG - 1)

    assert read_value(folder, KEY) is None
    assert BIG not in lengths


def test_what_is_not_there_is_not_read(folder):
    assert read_value(folder, KEY) is None
    write_object(folder, KEY, OWNER, value(bytes(BIG)))
    (folder.path / KEY.hex()).rename(folder.path / b"other".hex())
    assert read_value(folder, b"other") is None


def test_a_file_that_was_cut_off_is_not_read(folder):
    write_object(folder, KEY, OWNER, value(bytes(BIG)))
    os.truncate(folder.path / KEY.hex(), BIG)
    assert read_value(folder, KEY) is None


@pytest.mark.parametrize("again", [KEY, b"other", None], ids=["the same key", "another key", "nothing"])
@pytest.mark.parametrize("reads", [1, 2], ids=["before its bytes are read", "after some were"])
def test_a_file_that_is_written_again_meanwhile_is_not_taken_for_the_object(folder, monkeypatch, again, reads):
    write_object(folder, KEY, OWNER, value(b"1" * BIG, b"2" * BIG))
    inode = (folder.path / KEY.hex()).stat().st_ino
    pread, done = os.pread, []

    def late(descriptor, length, at):
        if len(done) == reads:
            done.append("again")
            assert recycle(server, KEY) is None
            if again is not None:
                write_object(server, again, OWNER, value(b"3" * BIG, b"4" * BIG))
                assert (folder.path / again.hex()).stat().st_ino == inode
        done.append(at)
        return pread(descriptor, length, at)

    server = Folder(folder.path)
    monkeypatch.setattr(object_file.os, "pread", late)

    assert read_value(folder, KEY) is None
    assert "again" in done


def test_reading_is_use(folder):
    write_object(folder, KEY, OWNER, value(bytes(BIG)))
    path = folder.path / KEY.hex()
    os.utime(path, (10, 10))

    read_value(folder, KEY)

    assert path.stat().st_atime > 10
    assert path.stat().st_mtime == 10
