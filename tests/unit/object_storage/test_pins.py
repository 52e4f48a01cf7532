"""Pins belong to a process, end with it, and keep a file from being claimed."""

import os
import signal

import pytest

from scaler_object_storage import pins as module
from scaler_object_storage.pins import Pins, is_reusable


class File:
    def __init__(self, path):
        path.write_bytes(b"content")
        self.descriptor = os.open(path, os.O_RDWR)
        self.inode = path.stat().st_ino
        self.path = path


@pytest.fixture
def table(tmp_path):
    """Return a function that opens the pins of another reader, or of the server."""
    folder = os.open(tmp_path, os.O_RDONLY)
    yield lambda: Pins(folder)
    os.close(folder)


@pytest.fixture
def file(tmp_path):
    file = File(tmp_path / "file")
    yield file
    os.close(file.descriptor)


def is_pinned(server, file):
    if server.claim(file.inode):
        server.unclaim(file.inode)
        return False
    return True


def in_child(work):
    """Run `work` in a forked process and leave it running; returns its number."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(writer, b"done")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 4) == b"done"
    os.close(reader)
    return pid


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_what_is_pinned_cannot_be_claimed_until_all_pins_have_ended(table, file):
    server, reader, other = table(), table(), table()
    assert reader.pin(file.descriptor, file.inode)
    assert reader.pin(file.descriptor, file.inode)
    assert other.pin(file.descriptor, file.inode)
    assert is_pinned(server, file)

    reader.end(file.inode)
    reader.release()
    other.end(file.inode)
    other.release()
    assert is_pinned(server, file)

    reader.end(file.inode)
    assert is_pinned(server, file)  # an end is only noted
    reader.release()
    assert not is_pinned(server, file)


def test_the_end_of_one_pin_is_told_with_the_next(table, file, tmp_path):
    server, reader, other = table(), table(), File(tmp_path / "other")
    reader.pin(file.descriptor, file.inode)
    reader.end(file.inode)

    reader.pin(other.descriptor, other.inode)

    assert not is_pinned(server, file)
    assert is_pinned(server, other)
    os.close(other.descriptor)


def test_what_is_claimed_cannot_be_pinned(table, file):
    server, reader = table(), table()
    assert server.claim(file.inode)
    assert not reader.pin(file.descriptor, file.inode)

    server.unclaim(file.inode)

    assert reader.pin(file.descriptor, file.inode)


def test_own_pins_count_too(table, file):
    server = table()
    server.pin(file.descriptor, file.inode)
    assert not server.claim(file.inode)

    server.end(file.inode)

    assert server.claim(file.inode)


def test_pins_end_with_their_process(table, file):
    server = table()
    kept = []
    pid = in_child(lambda: (kept.append(table()), kept[0].pin(file.descriptor, file.inode)))
    assert is_pinned(server, file)

    kill(pid)

    assert not is_pinned(server, file)


def test_pins_end_with_their_table(table, file):
    server, reader = table(), table()
    reader.pin(file.descriptor, file.inode)

    del reader

    assert not is_pinned(server, file)


def test_a_forked_child_looks_at_the_same_and_its_parent_does_not_take_that_away(table, file):
    server, reader = table(), table()
    reader.pin(file.descriptor, file.inode)
    pid = in_child(lambda: None)

    reader.end(file.inode)
    reader.release()
    assert is_pinned(server, file)

    del reader
    assert is_pinned(server, file)
    kill(pid)
    assert not is_pinned(server, file)


def test_what_a_forked_child_looks_at_is_not_claimed_by_its_parent(table, file):
    server, reader = table(), table()
    reader.pin(file.descriptor, file.inode)
    pid = in_child(lambda: None)
    reader.end(file.inode)

    assert not reader.claim(file.inode)

    assert is_pinned(server, file)
    kill(pid)


def test_what_is_pinned_after_a_fork_is_unpinned_as_ever(table, file):
    server, reader = table(), table()
    pid = in_child(lambda: None)
    reader.pin(file.descriptor, file.inode)

    reader.end(file.inode)
    reader.release()

    assert not is_pinned(server, file)
    kill(pid)


def test_of_too_many_files_each_is_marked_instead(table, file, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_PINS", 1)
    server, reader = table(), table()
    reader.pin(file.descriptor, file.inode)
    more = File(tmp_path / "more")

    assert reader.pin(more.descriptor, more.inode)

    assert not is_reusable(os.fstat(more.descriptor))
    assert is_reusable(os.fstat(file.descriptor))
    reader.end(more.inode)
    reader.end(file.inode)
    reader.release()
    assert not is_pinned(server, more)
    assert not is_pinned(server, file)
    os.close(more.descriptor)


def test_without_such_locks_nothing_can_be_claimed(table, file, monkeypatch):
    monkeypatch.setattr(module.fcntl, "F_OFD_SETLK", 12345)

    assert table().pin(file.descriptor, file.inode)
    assert not table().claim(file.inode)
