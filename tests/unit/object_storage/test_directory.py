"""Directories of servers: locked by the living, adopted by the next, removed when nobody comes back."""

import errno
import stat
from pathlib import Path

import pytest

from scaler_object_storage.directory import (
    PART_GRACE_SECONDS,
    Directory,
    directory_name,
    remove_directory,
    remove_stale,
    shared_folder,
    user_folder,
)
from scaler_object_storage.errors import DirectoryError
from scaler_object_storage.object_file import PART_SUFFIX, PartFile, write_object
from scaler_object_storage.values import Parts
from scaler_protocol.addresses import Address

ADDRESS = Address("tcp", "127.0.0.1", 1234)
LATER = 4e9
"""A time of day that is later than any file's here."""


def names(folder):
    return [path.name for path in folder.iterdir()]


def store(directory, key=b"key"):
    write_object(directory.folder, key, b"owner", Parts.of(b"content"))


def test_only_its_user_may_enter(tmp_path):
    directory = Directory(ADDRESS, tmp_path)

    for folder in (directory.path, directory.path.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert directory.path == user_folder(tmp_path) / directory_name(ADDRESS)
    directory.remove()


def test_a_folder_that_others_may_enter_is_refused(tmp_path):
    user_folder(tmp_path).mkdir(mode=0o755)
    user_folder(tmp_path).chmod(0o755)

    with pytest.raises(DirectoryError, match="0700"):
        Directory(ADDRESS, tmp_path)


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    user_folder(tmp_path).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(DirectoryError, match="0700"):
        Directory(ADDRESS, tmp_path)


def test_where_there_is_no_shared_memory_the_error_names_it(tmp_path):
    with pytest.raises(DirectoryError, match="none"):
        Directory(ADDRESS, tmp_path / "none")


def test_two_servers_cannot_have_one_directory(tmp_path):
    directory = Directory(ADDRESS, tmp_path)

    with pytest.raises(DirectoryError, match="in use"):
        Directory(ADDRESS, tmp_path)

    directory.remove()


def test_one_that_could_not_be_made_ready_can_be_had_later(tmp_path, monkeypatch):
    def fill(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", fill)
        with pytest.raises(DirectoryError, match="No space left on device"):
            Directory(ADDRESS, tmp_path)

    Directory(ADDRESS, tmp_path).remove()

    assert list(tmp_path.iterdir()) == []


def test_the_next_server_finds_the_objects_and_is_another_one(tmp_path):
    first = Directory(ADDRESS, tmp_path)
    store(first)
    first.release()

    second = Directory(ADDRESS, tmp_path)

    assert second.keys() == [b"key"]
    assert second.nonce != first.nonce
    second.remove()
    assert names(tmp_path) == []


def test_removing_leaves_nothing_and_others_alone(tmp_path):
    one, other = Directory(ADDRESS, tmp_path), Directory(ADDRESS.with_port(1), tmp_path)
    store(one)

    one.remove()

    assert names(user_folder(tmp_path)) == [other.name]
    other.remove()
    assert names(tmp_path) == []


def test_a_peer_that_reads_the_nonce_shares_the_machine(tmp_path):
    directory = Directory(ADDRESS, tmp_path)

    assert shared_folder(directory.name, directory.nonce, tmp_path).path == directory.path
    assert shared_folder(directory.name, b"another", tmp_path) is None
    assert shared_folder(directory.name, directory.nonce, tmp_path / "none") is None
    assert shared_folder("../" + directory.name, directory.nonce, tmp_path) is None
    directory.remove()


def test_a_directory_whose_server_is_gone_is_removed_after_the_retention(tmp_path):
    directory = Directory(ADDRESS, tmp_path)
    store(directory)
    lived = max(directory.path.stat().st_mtime, (directory.path / "lock").stat().st_mtime)
    directory.release()

    assert remove_stale(60.0, lived + 59, tmp_path) == []
    assert remove_stale(60.0, lived + 61, tmp_path) == [directory.path]
    assert names(user_folder(tmp_path)) == []


def test_a_directory_in_use_is_never_removed(tmp_path):
    directory = Directory(ADDRESS, tmp_path)
    store(directory)

    assert remove_stale(60.0, LATER, tmp_path) == []
    assert not remove_directory(ADDRESS, tmp_path)

    assert directory.keys() == [b"key"]
    directory.remove()


def test_half_removed_and_half_made_directories_are_removed(tmp_path):
    directory = Directory(ADDRESS, tmp_path)
    directory.release()
    half_removed = directory.path.rename(directory.path.with_suffix(".abc.removed"))
    (half_removed / "lock").unlink()
    directory.path.mkdir()

    assert set(remove_stale(60.0, LATER, tmp_path)) == {half_removed, directory.path}
    assert names(user_folder(tmp_path)) == []


def test_what_is_not_ours_is_left_alone(tmp_path):
    (user_folder(tmp_path) / "something else").mkdir(parents=True)

    assert remove_stale(60.0, LATER, tmp_path) == []
    assert names(user_folder(tmp_path)) == ["something else"]


def test_nothing_is_there_before_the_first_server(tmp_path):
    assert remove_stale(60.0, LATER, tmp_path) == []
    assert remove_directory(ADDRESS, tmp_path)


def test_a_dead_servers_directory_can_be_removed_at_once(tmp_path):
    directory = Directory(ADDRESS, tmp_path)
    store(directory)
    directory.release()

    assert remove_directory(ADDRESS, tmp_path)
    assert names(tmp_path) == []


def test_parts_of_dead_writers_are_collected_and_others_are_not(tmp_path):
    directory = Directory(ADDRESS, tmp_path)
    living = PartFile(directory.folder, 10)
    dead = directory.path / f"dead{PART_SUFFIX}"
    dead.write_bytes(b"half")
    written = dead.stat().st_mtime
    store(directory)

    assert directory.collect_parts(written + PART_GRACE_SECONDS - 1) == 0
    assert directory.collect_parts(written + PART_GRACE_SECONDS + 60) == 1

    assert not dead.exists()
    living.commit(b"living", b"owner")
    assert sorted(directory.keys()) == [b"key", b"living"]
    directory.remove()


def test_a_directory_removed_by_others_is_noticed(tmp_path):
    directory = Directory(ADDRESS, tmp_path)
    directory.touch()
    (directory.path / "lock").unlink()

    with pytest.raises(FileNotFoundError):
        directory.touch()
    directory.remove()
