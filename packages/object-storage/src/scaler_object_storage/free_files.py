"""Files of deleted objects that nobody looks at: kept for a while with their memory, to be written again.

Memory that a file has already is written three times as fast as fresh one. The server adds files and takes back what is
too much or too old; writers take what fits, each by renaming it, so that no two get the same.
"""

import contextlib
import errno
import fcntl
import os
import re
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator

FREE = "reusable"
"""The folder, within the objects' one."""

SMALLEST_BYTES = 64 << 10
"""Smaller files are not worth it."""

KEPT_SECONDS = 10.0
LARGEST_SHARE = 1 / 8
"""Of the file system, that free files take at most."""

_LARGEST_EXCESS = 1 / 4  # of a file, over what is needed
_STEPS = 16
_TICK_NS = 20_000_000
"""Two changes of a folder within a tick may look like one: the clock of file systems is coarse, 1 to 10 ms."""

_NAME = re.compile(r"[0-9a-f]{32}\Z")
_NOT_TO_BE_HAD = frozenset({errno.ENOENT, errno.EACCES, errno.EAGAIN, errno.ESTALE})


def rounded(size: int) -> int:
    """Return how large a new file for so many bytes should be, that others of about that size fit into later."""
    if size < SMALLEST_BYTES:
        return size
    step = (1 << (size.bit_length() - 1)) // _STEPS
    return -(-size // step) * step


class FreeFiles:
    """Those of one directory, as any process sees it. Usable from any thread."""

    def __init__(self, folder: int) -> None:
        """`folder`: a descriptor of the objects' directory, which stays open as long as this is used."""
        self._folder = folder
        self._names: list[str] = []  # as they were listed last, the smallest first, of one size the oldest first
        self._listed_change: int | None = None  # the last change of the folder before that, if it is sure to be it
        self._known_bytes = 0
        self._most_bytes: float | None = None  # not looked up yet
        self._lock = threading.Lock()

    # ---- for writers

    def take(self, size: int, name: str) -> int | None:
        """Rename a file of at least so many bytes, not many more, in the directory; return it open and locked.

        None where there is none. Its content is that of an earlier object.
        """
        if size < SMALLEST_BYTES:
            return None
        with self._lock:
            for candidate in self._fitting(size):
                descriptor = self._claim(candidate, name)
                if descriptor is not None:
                    return descriptor
        return None

    def _fitting(self, size: int) -> Iterator[str]:
        lowest, highest = _name(size, 0), _name(int(size * (1 + _LARGEST_EXCESS)), 0)
        for is_fresh in (False, True):
            if is_fresh and not self._list_if_changed():
                return
            while (first := bisect_left(self._names, lowest)) < bisect_left(self._names, highest):
                # Of the smallest ones the last that came, so that what is not needed is seen to grow old.
                after = bisect_left(self._names, _name(_size(self._names[first]) + 1, 0))
                yield self._names.pop(after - 1)

    def _list_if_changed(self) -> bool:
        """List the files, unless the folder is as it was the last time."""
        try:
            change = os.stat(FREE, dir_fd=self._folder).st_mtime_ns  # before listing: what comes meanwhile is news
        except FileNotFoundError:
            return False
        if change == self._listed_change:
            return False
        is_certain = time.time_ns() - change > _TICK_NS  # before listing, too: what comes after that has another time
        self._names = sorted(self._listed())
        self._listed_change = change if is_certain else None
        return True

    def _claim(self, candidate: str, name: str) -> int | None:
        try:
            descriptor = os.open(f"{FREE}/{candidate}", os.O_RDWR | os.O_CLOEXEC, dir_fd=self._folder)
        except OSError as error:
            if error.errno in _NOT_TO_BE_HAD:
                return None
            raise
        try:
            fcntl.flock(
                descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # before it is a part that a dead writer may have left
            os.rename(f"{FREE}/{candidate}", name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError as error:
            os.close(descriptor)
            if error.errno in _NOT_TO_BE_HAD:
                return None
            raise
        return descriptor

    def give_back(self) -> bool:
        """Remove all; whether there were any."""
        return self._remove(self._listed()) > 0

    # ---- for the server

    def add(self, name: str, size: int) -> bool:
        """Make a file of the directory a free one; False where there are enough. Raises `OSError`."""
        if size < SMALLEST_BYTES or not self._has_room(size):
            return False
        free = f"{FREE}/{_name(size, time.monotonic_ns())}"
        os.rename(name, free, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._known_bytes += size
        return True

    def remove_old(self) -> None:
        """Remove what nobody wanted for a while."""
        oldest = time.monotonic_ns() - int(KEPT_SECONDS * 1e9)
        names = self._listed()
        self._remove(name for name in names if _added(name) < oldest)
        self._known_bytes = sum(_size(name) for name in names if _added(name) >= oldest)
        self._most_bytes = None  # the file system may have been made larger or smaller

    def _has_room(self, size: int) -> bool:
        if self._most_bytes is None:
            status = os.fstatvfs(self._folder)
            self._most_bytes = status.f_blocks * status.f_frsize * LARGEST_SHARE
        if self._known_bytes + size > self._most_bytes:
            self._known_bytes = sum(map(_size, self._listed()))  # some were taken meanwhile
        return self._known_bytes + size <= self._most_bytes

    # ---- for both

    def _listed(self) -> list[str]:
        try:
            descriptor = os.open(FREE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folder)
        except FileNotFoundError:
            return []
        try:
            return [name for name in os.listdir(descriptor) if _is_name(name)]  # noqa: PTH208 - there is no path
        finally:
            os.close(descriptor)

    def _remove(self, names: Iterable[str]) -> int:
        removed = 0
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{FREE}/{name}", dir_fd=self._folder)
                removed += 1
        return removed


def _name(size: int, moment: int) -> str:
    """Return the name of a file that became free at a moment: sorts by size, then by age."""
    return f"{size:016x}{moment:016x}"


def _is_name(name: str) -> bool:
    return _NAME.match(name) is not None


def _size(name: str) -> int:
    return int(name[:16], 16)


def _added(name: str) -> int:
    return int(name[16:], 16)
