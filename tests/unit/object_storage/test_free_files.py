"""Files that are to be written again: those that fit, each for one writer, not too many and not for ever."""

import os
import time

import pytest

from scaler_object_storage import free_files as module
from scaler_object_storage.free_files import FREE, SMALLEST_BYTES, FreeFiles, rounded

MIB = 1 << 20


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000
        day = staticmethod(time.time_ns)

        def monotonic_ns(self):
            self.now += 1
            return self.now

        def time_ns(self):
            return self.day()

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def folder(tmp_path):
    (tmp_path / FREE).mkdir()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def free_files(folder):
    return FreeFiles(folder)


def add(free_files, tmp_path, size, content=b"old"):
    path = tmp_path / "file"
    path.write_bytes(content)
    return free_files.add("file", size)


def take(free_files, tmp_path, size):
    """Return the content of what was taken."""
    descriptor = free_files.take(size, "taken")
    if descriptor is None:
        return None
    assert (tmp_path / "taken").stat().st_ino == os.fstat(descriptor).st_ino
    content = os.read(descriptor, 100)
    os.close(descriptor)
    return content


def left(tmp_path):
    return len(list((tmp_path / FREE).iterdir()))


@pytest.mark.parametrize("size", [SMALLEST_BYTES, MIB, MIB + 1, 3 * MIB - 7, 100 * MIB])
def test_files_are_a_little_larger_than_needed(size):
    assert size <= rounded(size) <= size * (1 + 1 / 16)
    assert rounded(rounded(size)) == rounded(size)
    assert rounded(size - 1) == rounded(size) or rounded(size - 1) == size - 1


def test_the_smallest_that_fits_is_taken_and_of_these_the_last(free_files, tmp_path, clock):
    for size, content in ((MIB, b"1"), (2 * MIB, b"a"), (2 * MIB, b"b"), (2 * MIB + 9, b"c"), (8 * MIB, b"8")):
        assert add(free_files, tmp_path, size, content)

    assert take(free_files, tmp_path, MIB + 1) is None
    assert [take(free_files, tmp_path, 2 * MIB - 5) for _ in range(4)] == [b"b", b"a", b"c", None]
    assert left(tmp_path) == 2


def test_what_others_took_or_added_meanwhile_is_no_obstacle(free_files, folder, tmp_path, clock):
    other = FreeFiles(folder)
    for content in (b"1", b"2", b"3"):
        add(free_files, tmp_path, MIB, content)
    assert take(other, tmp_path, MIB) == b"3"

    assert take(free_files, tmp_path, MIB) == b"2"
    assert take(other, tmp_path, MIB) == b"1"
    assert take(free_files, tmp_path, MIB) is None
    add(free_files, tmp_path, MIB, b"4")
    assert take(other, tmp_path, MIB) == b"4"


def test_a_folder_that_has_not_changed_is_not_listed_again(free_files, tmp_path, clock, monkeypatch):
    def listed():
        found.append(1)
        return FreeFiles._listed(free_files)

    found = []
    monkeypatch.setattr(free_files, "_listed", listed)
    long_ago = time.time() - 100
    os.utime(tmp_path / FREE, (long_ago, long_ago))
    assert [take(free_files, tmp_path, MIB) for _ in range(3)] == [None] * 3
    assert len(found) == 1

    add(free_files, tmp_path, MIB, b"new")
    assert take(free_files, tmp_path, MIB) == b"new"


def test_a_folder_that_has_just_changed_is_listed_each_time(free_files, folder, tmp_path, clock):
    now = time.time_ns()
    clock.day = lambda: now + 1_000_000
    os.utime(tmp_path / FREE, ns=(now, now))
    assert take(free_files, tmp_path, MIB) is None

    add(FreeFiles(folder), tmp_path, MIB, b"new")
    os.utime(tmp_path / FREE, ns=(now, now))  # as a coarse clock would have it

    assert take(free_files, tmp_path, MIB) == b"new"


def test_a_file_that_comes_just_after_listing_is_seen_however_slow_the_process_is(
    free_files, folder, tmp_path, clock, monkeypatch
):
    now = time.time_ns()
    clock.day = lambda: now + 1_000_000
    os.utime(tmp_path / FREE, ns=(now, now))

    def slow():
        names = listed()
        add(FreeFiles(folder), tmp_path, MIB, b"new")
        os.utime(tmp_path / FREE, ns=(now, now))
        clock.day = lambda: now + 1_000_000_000
        return names

    listed = free_files._listed
    monkeypatch.setattr(free_files, "_listed", slow)
    assert take(free_files, tmp_path, MIB) is None
    monkeypatch.undo()

    assert take(free_files, tmp_path, MIB) == b"new"


def test_what_is_being_taken_is_not_taken_twice(free_files, folder, tmp_path, clock):
    add(free_files, tmp_path, MIB)
    descriptor = free_files.take(MIB, "taken")
    next_name = (tmp_path / "taken").rename(tmp_path / FREE / f"{MIB:016x}{5:016x}")

    assert FreeFiles(folder).take(MIB, "again") is None

    assert next_name.exists()
    os.close(descriptor)
    assert take(FreeFiles(folder), tmp_path, MIB) == b"old"


def test_small_files_are_not_kept(free_files, tmp_path):
    assert not add(free_files, tmp_path, SMALLEST_BYTES - 1)
    assert free_files.take(SMALLEST_BYTES - 1, "taken") is None


def test_they_take_a_share_of_the_memory_at_most(free_files, folder, tmp_path, clock, monkeypatch):
    status = os.fstatvfs(folder)
    monkeypatch.setattr(module, "LARGEST_SHARE", 2.5 * MIB / (status.f_blocks * status.f_frsize))
    assert add(free_files, tmp_path, MIB)
    assert add(free_files, tmp_path, MIB)
    assert not add(free_files, tmp_path, MIB)

    assert take(FreeFiles(folder), tmp_path, MIB) == b"old"

    assert add(free_files, tmp_path, MIB)


def test_what_nobody_wanted_for_a_while_is_given_back(free_files, tmp_path, clock):
    add(free_files, tmp_path, MIB, b"old")
    clock.now += int(module.KEPT_SECONDS * 1e9)
    add(free_files, tmp_path, MIB, b"new")

    free_files.remove_old()

    assert left(tmp_path) == 1
    assert take(free_files, tmp_path, MIB) == b"new"


def test_all_are_given_back_when_memory_is_short(free_files, tmp_path, clock):
    add(free_files, tmp_path, MIB)

    assert free_files.give_back()
    assert not free_files.give_back()

    assert left(tmp_path) == 0
    assert take(free_files, tmp_path, MIB) is None


def test_a_directory_without_any_is_one_too(folder, tmp_path):
    (tmp_path / FREE).rmdir()

    assert FreeFiles(folder).take(MIB, "taken") is None
    assert not FreeFiles(folder).give_back()
