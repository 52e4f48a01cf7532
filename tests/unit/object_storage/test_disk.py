"""What goes to the disk, that it is found there, and that nothing is left there."""

import os
import shutil

import pytest

from scaler_object_storage import disk as disk_module
from scaler_object_storage.directory import Directory
from scaler_object_storage.disk import Disk, remove_all_stale, remove_left
from scaler_object_storage.free_files import FREE
from scaler_object_storage.limits import Limits
from scaler_object_storage.object_file import map_object, read_header, recycle, write_object
from scaler_object_storage.values import Parts
from scaler_protocol.addresses import Address

ADDRESS = Address("tcp", "127.0.0.1", 1234)
MIB = 1 << 20
LATER = 4e9


@pytest.fixture
def memory(tmp_path):
    (tmp_path / "memory").mkdir()
    return Directory(ADDRESS, tmp_path / "memory")


@pytest.fixture
def limits(tmp_path):
    (tmp_path / "disk").mkdir()
    return Limits(4 * MIB, tmp_path / "disk")


@pytest.fixture
def disk(memory, limits):
    return Disk(ADDRESS, memory, limits)


def put(memory, number, used=None):
    """Store an object; `used`: when it was used last, in seconds."""
    key = b"%d" % number
    write_object(memory.folder, key, b"owner", Parts.of(content(number)))
    if used is not None:
        os.utime(memory.path / key.hex(), (used, used))
    return key


def content(number):
    return bytes([number]) * (MIB - 4096)


def move(disk, key):
    disk.open()
    version = disk.copy(key, lambda: True)
    disk.replace(key, version)


def on_disk(limits):
    return {path.name for path in limits.disk.rglob("*") if path.is_file()} - {"lock", "nonce", "pins"}


def test_below_the_limit_everything_stays(memory, disk, limits):
    put(memory, 1)

    assert disk.excess() == []
    assert list(limits.disk.iterdir()) == []


def test_those_go_that_were_not_used_for_the_longest_time_until_enough_is_free(memory, disk):
    keys = [put(memory, number, used) for number, used in ((1, 50), (2, 10), (3, 40), (4, 20), (5, 30))]

    assert disk.excess() == [keys[1], keys[3]]


def test_what_was_just_read_was_used(memory, disk):
    keys = [put(memory, number, number) for number in range(1, 6)]
    assert map_object(memory.folder, keys[0]) == content(1)
    memory.folder.pins.release()

    assert disk.excess()[0] == keys[1]


def test_what_somebody_looks_at_stays(memory, disk):
    keys = [put(memory, number, number) for number in range(1, 6)]
    view = map_object(memory.folder, keys[0])

    assert keys[0] not in disk.excess()
    assert view == content(1)


def test_what_was_moved_is_found_as_before_and_takes_no_memory(memory, disk, limits):
    key = put(memory, 1)
    before = map_object(memory.folder, key)

    move(disk, key)

    assert (memory.path / key.hex()).is_symlink()
    assert map_object(memory.folder, key) == before == content(1)
    assert read_header(memory.folder, key).owner == b"owner"
    assert memory.keys() == [key]
    assert on_disk(limits) == {key.hex()}
    assert disk.excess() == []


def test_what_was_deleted_is_deleted_there(memory, disk, limits):
    key = put(memory, 1)
    move(disk, key)

    recycle(memory.folder, key)
    disk.remove(key)

    assert map_object(memory.folder, key) is None
    assert on_disk(limits) == set()
    assert list((memory.path / FREE).iterdir()) == []


def test_what_was_deleted_while_it_was_copied_stays_deleted(memory, disk, limits):
    key = put(memory, 1)
    disk.open()
    version = disk.copy(key, lambda: True)
    recycle(memory.folder, key)

    disk.replace(key, version)

    assert map_object(memory.folder, key) is None
    assert on_disk(limits) == set()


def test_what_was_replaced_while_it_was_copied_stays_replaced(memory, disk, limits):
    key = put(memory, 1)
    disk.open()
    version = disk.copy(key, lambda: True)
    write_object(memory.folder, key, b"owner", Parts.of(b"new"))

    disk.replace(key, version)

    assert map_object(memory.folder, key) == b"new"
    assert on_disk(limits) == set()


def test_what_is_being_copied_is_not_written_again(memory, disk, limits):
    key = put(memory, 1)
    disk.open()

    def delete_and_store_another():
        recycle(memory.folder, key)
        write_object(memory.folder, b"other", b"owner", Parts.of(content(2)))
        return True

    version = disk.copy(key, delete_and_store_another)

    assert map_object(disk.directory.folder, key) == content(1)
    disk.replace(key, version)
    assert on_disk(limits) == set()


def test_a_copy_can_be_ended_early(memory, disk, limits):
    key = put(memory, 1)
    disk.open()

    assert disk.copy(key, lambda: False) is None

    assert on_disk(limits) == set()
    assert map_object(memory.folder, key) == content(1)


def test_what_no_link_leads_to_is_removed(memory, disk, limits):
    kept, replaced = put(memory, 1), put(memory, 2)
    move(disk, kept)
    move(disk, replaced)
    write_object(memory.folder, replaced, b"owner", Parts.of(b"new"))

    disk.tidy(LATER)

    assert on_disk(limits) == {kept.hex()}


def test_the_next_server_finds_what_lies_there(memory, disk, limits):
    key = put(memory, 1)
    move(disk, key)
    disk.close(keep_objects=True)

    again = Disk(ADDRESS, memory, limits)

    assert map_object(memory.folder, key) == content(1)
    again.tidy(LATER)
    assert on_disk(limits) == {key.hex()}
    again.close(keep_objects=False)
    assert list(limits.disk.iterdir()) == []


def test_what_nobody_came_back_for_is_removed_there_too(memory, disk, limits, tmp_path):
    move(disk, put(memory, 1))
    assert remove_all_stale(limits, 60.0, LATER, tmp_path / "memory") == []

    disk.close(keep_objects=True)
    memory.release()

    assert len(remove_all_stale(limits, 60.0, LATER, tmp_path / "memory")) == 2
    assert on_disk(limits) == set()


def test_what_a_dead_server_left_can_be_removed_at_once_there_too(memory, disk, limits, tmp_path):
    move(disk, put(memory, 1))
    disk.close(keep_objects=True)
    memory.release()

    remove_left(ADDRESS, limits, tmp_path / "memory")

    assert list(limits.disk.iterdir()) == list((tmp_path / "memory").iterdir()) == []


def test_without_a_disk_everything_stays(memory):
    disk = Disk(ADDRESS, memory, Limits(0, None))
    put(memory, 1)

    assert disk.excess() == []
    assert disk.open() is None
    disk.close(keep_objects=False)


def test_a_directory_that_somebody_removed_is_made_anew(memory, disk, limits):
    lost, other = put(memory, 1), put(memory, 2)
    move(disk, lost)
    shutil.rmtree(disk.directory.path)

    disk.tidy(LATER)
    move(disk, other)

    assert map_object(memory.folder, lost) is None
    assert map_object(memory.folder, other) == content(2)
    assert on_disk(limits) == {other.hex()}


def test_files_are_not_looked_at_while_all_that_is_in_memory_is_below_the_limit(memory, disk, monkeypatch):
    def looked(_folder):
        raise AssertionError("looked at every file")

    put(memory, 1)
    monkeypatch.setattr(disk_module, "_files", looked)
    monkeypatch.setattr(memory.folder, "used_bytes", lambda: 4 * MIB)
    assert disk.excess() == []

    for unknown_or_more in (None, 4 * MIB + 1):
        monkeypatch.setattr(memory.folder, "used_bytes", lambda used=unknown_or_more: used)
        with pytest.raises(AssertionError, match="every file"):
            disk.excess()
