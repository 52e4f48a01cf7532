"""Objects that are too many for the memory lie on a disk, those that were not looked at for the longest time.

On the disk each is a file like those in memory, in a directory like that one (`directory.py`). A symbolic link takes
its place in memory, so that readers find and map it as before. What no link leads to is removed.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scaler_object_storage.directory import (
    SHARED_MEMORY,
    Directory,
    is_key,
    remove_directory,
    remove_stale,
    user_folder,
)
from scaler_object_storage.errors import DirectoryError
from scaler_object_storage.limits import Limits
from scaler_object_storage.object_file import PART_SUFFIX, PartFile, map_object, read_header
from scaler_protocol.addresses import Address

EASED_SHARE = 9 / 10
"""Of the limit: once that is passed, objects go until less is taken."""

_STEP_BYTES = 8 << 20
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system
_log = logging.getLogger(__name__)


class Disk:
    """What one server has on the disk. The directory there is made for the first object."""

    def __init__(self, address: Address, memory: Directory, limits: Limits) -> None:
        """Adopt what an earlier server at the address left."""
        self.memory = memory
        self.directory: Directory | None = None
        self._address = address
        self._limits = limits
        if limits.disk is not None and (user_folder(limits.disk) / memory.name).exists():
            try:
                self.open()
            except DirectoryError as error:
                _log.warning("%s", error)

    def open(self) -> Directory | None:
        """Return the directory, None where there shall be none. Raises `DirectoryError`."""
        if self.directory is None and self._limits.disk is not None:
            self.directory = Directory(self._address, self._limits.disk)
        return self.directory

    def link(self, key: bytes) -> None:
        """Have readers find the object that was written here, instead of what they found before. Raises `OSError`."""
        if self.directory is not None:
            passing = f"{key.hex()}{PART_SUFFIX}"
            folder = self.memory.folder
            folder.unlink(passing)
            os.symlink(self.directory.path / key.hex(), passing, dir_fd=folder.descriptor)
            folder.rename(passing, key.hex())

    def remove(self, key: bytes) -> None:
        """Remove an object if it lies here."""
        if self.directory is not None:
            self.directory.folder.unlink(key.hex())

    def tidy(self, now: float) -> None:
        """Remove what no link leads to, and what dead writers left; `now` is the time of day. Raises `OSError`.

        Not between `copy` and `replace`.
        """
        if self.directory is None:
            return
        try:
            self.directory.touch()
        except FileNotFoundError:
            _log.error("%s was removed by somebody else: the objects in it are lost", self.directory.path)
            self.close(keep_objects=True)  # the next object makes it anew
            return
        self.directory.collect_parts(now)
        keys = self.directory.keys()
        for key in keys:
            if not (self.memory.path / key.hex()).is_symlink():
                self.remove(key)

    def __str__(self) -> str:
        """Return what lies there, for people."""
        if self.directory is None:
            return "nothing"
        with contextlib.suppress(OSError):
            return f"{len(self.directory.keys())} objects in {self.directory.path}"
        return f"{self.directory.path} cannot be read"

    def close(self, *, keep_objects: bool) -> None:
        """Leave the objects to the next server at the address, or remove them."""
        directory, self.directory = self.directory, None
        if directory is not None and keep_objects:
            directory.release()
        elif directory is not None:
            directory.remove()

    # ---- moving there

    def excess(self) -> list[bytes]:
        """Return the keys of objects to move, those first that were not used for the longest time. Raises `OSError`."""
        if self._limits.disk is None:
            return []
        limit = self._limits.memory_of(self.memory.path)
        used = self.memory.folder.used_bytes()
        if used is not None and used <= limit:
            return []  # nearly always so, and a look at each file costs a few microseconds
        files = list(_files(self.memory.path))
        taken = sum(file.size for file in files)
        if taken <= limit:
            return []
        chosen: list[bytes] = []
        for file in sorted(files, key=lambda file: file.last_use):
            if taken <= limit * EASED_SHARE:
                break
            if is_key(file.name) and not self._is_in_use(file.name):  # else its memory would not become free
                taken -= file.size
                chosen.append(bytes.fromhex(file.name))
        return chosen

    def copy(self, key: bytes, goes_on: Callable[[], bool]) -> int | None:
        """Copy an object here, in a thread of its own; then `replace` it, by what this returns.

        None where there is nothing to copy, or when `goes_on` says False. Raises `OSError`, `ObjectStorageFull` for
        the disk.
        """
        directory, memory = self.directory, self.memory.folder
        header = read_header(memory, key)
        view = map_object(memory, key)
        if directory is None or header is None or view is None or read_header(memory, key) != header:
            return None
        part = PartFile(directory.folder, header.size)
        try:
            for start in range(0, header.size, _STEP_BYTES):
                if not goes_on():
                    part.discard()
                    return None
                part.write(start, [view[start : start + _STEP_BYTES]])
        except BaseException:
            part.discard()
            raise
        part.commit(key, header.owner)
        return header.version

    def replace(self, key: bytes, version: int) -> None:
        """Put a link in the place of an object that was copied, if it is still this version of it. Raises `OSError`.

        Whoever stores another one under the key in this very moment loses it: keys are new ones, as a rule.
        """
        header = read_header(self.memory.folder, key)
        if header is not None and header.version == version:
            self.link(key)
        else:
            self.remove(key)

    def _is_in_use(self, name: str) -> bool:
        pins = self.memory.folder.pins
        try:
            inode = (self.memory.path / name).lstat().st_ino
        except FileNotFoundError:
            return True
        is_free = pins.claim(inode)
        if is_free:
            pins.unclaim(inode)
        return not is_free


def remove_left(address: Address, limits: Limits, root: Path = SHARED_MEMORY) -> None:
    """Remove what a server at this address left, if it is gone, in memory and on the disk."""
    remove_directory(address, root)
    if limits.disk is not None:
        remove_directory(address, limits.disk)


def remove_all_stale(limits: Limits, retention_seconds: float, now: float, root: Path = SHARED_MEMORY) -> list[Path]:
    """Remove what servers left that ended so long ago and did not come back; `now` is the time of day."""
    removed = remove_stale(retention_seconds, now, root)
    return removed if limits.disk is None else removed + remove_stale(retention_seconds, now, limits.disk)


@dataclass(slots=True)
class _File:
    name: str
    size: int
    last_use: int


def _files(folder: Path) -> Iterator[_File]:
    """Yield what takes memory, objects and parts of some."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    last_use = max(status.st_atime_ns, status.st_mtime_ns)
                    yield _File(entry.name, status.st_blocks * _BLOCK_BYTES, last_use)
