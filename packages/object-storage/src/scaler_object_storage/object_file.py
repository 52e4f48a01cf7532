"""One object, one file: written under a passing name, committed by its header and its final name, read by mapping it.

The header (`header.py`) is written last, so that a file without a valid one is no object. Who writes holds a lock
(`flock`) on the file, which ends with the writer: what a crash left can be told from what is still being written.
"""

import errno
import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from scaler_object_storage.errors import ObjectStorageError, ObjectStorageFull
from scaler_object_storage.header import HEADER_BYTES, Header
from scaler_object_storage.mapping import map_file
from scaler_object_storage.values import Buffer, Parts

PART_SUFFIX = ".part"

_ALLOCATION_STEP_BYTES = 8 << 20
_MAX_PIECES = 1024  # IOV_MAX of Linux
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM})


def object_path(folder: Path, key: bytes) -> Path:
    """Return the name of a committed file."""
    return folder / key.hex()


class PartFile:
    """An object on its way: all its memory is allocated first, so that nobody gets SIGBUS when it is short."""

    def __init__(self, folder: Path, size: int) -> None:
        """Raise `ObjectStorageFull`, `FileNotFoundError` where there is no such folder, or another `OSError`."""
        self.size = size
        self._folder = folder
        self._path = folder / (os.urandom(16).hex() + PART_SUFFIX)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._allocate()
        except BaseException:
            self.discard()
            raise

    def write(self, offset: int, pieces: Sequence[Buffer]) -> None:
        """Write bytes of the object. Not through a mapping: that is half as fast on fresh memory (page faults)."""
        at = HEADER_BYTES + offset
        for start in range(0, len(pieces), _MAX_PIECES):
            rest = [memoryview(piece).cast("B") for piece in pieces[start : start + _MAX_PIECES]]
            while rest:
                written = os.pwritev(self._descriptor, rest, at)
                at += written
                while rest and written >= len(rest[0]):
                    written -= len(rest.pop(0))
                if rest:
                    rest[0] = rest[0][written:]

    def commit(self, key: bytes, owner: bytes) -> Header:
        """Make it an object; what was stored under this key before is replaced, and stays with those who mapped it."""
        header = Header(key, owner, self.size, int.from_bytes(os.urandom(8), "little"))
        try:
            os.pwrite(self._descriptor, header.pack(), 0)
            self._path.rename(object_path(self._folder, key))
        except BaseException:
            self.discard()
            raise
        os.close(self._descriptor)
        return header

    def discard(self) -> None:
        """Give it up."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _allocate(self) -> None:
        total = HEADER_BYTES + self.size
        free = free_bytes(self._folder)
        if total > free:  # without trying: that would take the memory away from everybody else meanwhile
            raise ObjectStorageFull(str(self._folder), total, free)
        try:
            # In steps: a signal makes the system undo a step and repeat it, a profiler's timer would do so forever.
            for start in range(0, total, _ALLOCATION_STEP_BYTES):
                os.posix_fallocate(self._descriptor, start, min(_ALLOCATION_STEP_BYTES, total - start))
        except OSError as error:
            if error.errno not in _FULL:
                raise
            os.ftruncate(self._descriptor, 0)
            raise ObjectStorageFull(str(self._folder), total, free_bytes(self._folder)) from error


def free_bytes(folder: Path) -> int:
    """Return how much memory is left under a folder, 0 where it is gone."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return 0
    return status.f_bavail * status.f_frsize


def write_object(folder: Path, key: bytes, owner: bytes, parts: Parts) -> Header:
    """Store an object. Raises as `PartFile` does."""
    part = PartFile(folder, parts.size)
    try:
        part.write(0, parts.pieces)
    except BaseException:
        part.discard()
        raise
    return part.commit(key, owner)


def map_object(folder: Path, key: bytes) -> memoryview | None:
    """Return the bytes of an object without a copy, None where there is none. Raises `ObjectStorageError`."""
    try:
        descriptor = os.open(object_path(folder, key), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ObjectStorageError(f"cannot open object {key.hex()} in {folder}: {error.strerror}") from error
    try:
        total = os.fstat(descriptor).st_size
        if total < HEADER_BYTES:
            return None
        view = map_file(descriptor, total)
    except OSError as error:
        raise ObjectStorageError(f"cannot map object {key.hex()} in {folder}: {error.strerror}") from error
    finally:
        os.close(descriptor)
    header = Header.unpack(bytes(view[:HEADER_BYTES]))
    return view[HEADER_BYTES:] if header is not None and _fits(header, key, total) else None


def read_header(folder: Path, key: bytes) -> Header | None:
    """Return what a file says, None where there is no such object. Raises `OSError`."""
    with suppress(FileNotFoundError):
        descriptor = os.open(object_path(folder, key), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _read_header(descriptor, key)
        finally:
            os.close(descriptor)
    return None


def read_chunk(folder: Path, key: bytes, version: int, offset: int, length: int) -> bytes | None:
    """Return bytes of an object, None where it does not exist with this content. Raises `OSError`."""
    with suppress(FileNotFoundError):
        descriptor = os.open(object_path(folder, key), os.O_RDONLY | os.O_CLOEXEC)
        try:
            header = _read_header(descriptor, key)
            if header is None or header.version != version or offset + length > header.size:
                return None
            return os.pread(descriptor, length, HEADER_BYTES + offset)
        finally:
            os.close(descriptor)
    return None


def _read_header(descriptor: int, key: bytes) -> Header | None:
    header = Header.unpack(os.pread(descriptor, HEADER_BYTES, 0))
    return header if header is not None and _fits(header, key, os.fstat(descriptor).st_size) else None


def _fits(header: Header, key: bytes, total: int) -> bool:
    return header.key == key and HEADER_BYTES + header.size == total
