"""One object, one file: written under a passing name, committed by its header and its final name, read by mapping it.

The header (`header.py`) is written last, so that a file without a valid one is no object. Who writes holds a lock
(`flock`) on the file, which ends with the writer: what a crash left can be told from what is still being written.
A deleted object's file is written again, with the memory that it has, if nobody looks at it (`pins.py`).
"""

import errno
import fcntl
import os
import time
from collections.abc import Sequence
from contextlib import suppress

from scaler_object_storage.errors import ObjectStorageError, ObjectStorageFull
from scaler_object_storage.folder import Folder
from scaler_object_storage.free_files import SMALLEST_BYTES, rounded
from scaler_object_storage.header import HEADER_BYTES, Header
from scaler_object_storage.mapping import map_file
from scaler_object_storage.pins import is_reusable
from scaler_object_storage.values import Buffer, Parts, Pieces, places_of_bytes

PART_SUFFIX = ".part"

_ALLOCATION_STEP_BYTES = 8 << 20
_USE_NOTED_NS = 1_000_000_000
_MAX_PIECES = 1024  # IOV_MAX of Linux
_FIRST_BYTES = 4096  # what is read first of a value: header and, if its bytes lie apart, all that is before them
_MOST_READ_BYTES = 0x7FFF_F000  # read(2): Linux gives no more at once
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM})


class PartFile:
    """An object on its way: all its memory is allocated first, so that nobody gets SIGBUS when it is short."""

    def __init__(self, folder: Folder, size: int) -> None:
        """Raise `ObjectStorageFull`, `FileNotFoundError` where there is no such folder, or another `OSError`."""
        self.size = size
        self.folder = folder
        self._name = _passing_name()
        taken = folder.free_files.take(HEADER_BYTES + size, self._name)
        self._descriptor = self._make() if taken is None else taken

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
            self.folder.rename(self._name, key.hex())
        except BaseException:
            self.discard()
            raise
        os.close(self._descriptor)
        return header

    def discard(self) -> None:
        """Give it up."""
        self.folder.unlink(self._name)
        os.close(self._descriptor)

    def _make(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(self._name, flags, 0o600, dir_fd=self.folder.descriptor)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._allocate_all()
        except BaseException:
            self.discard()
            raise
        return self._descriptor

    def _allocate_all(self) -> None:
        total, reusable = HEADER_BYTES + self.size, self.folder.free_files
        free = self.folder.free_bytes()
        if total > free and reusable.give_back():
            free = self.folder.free_bytes()
        if total > free:  # without trying: that would take the memory away from everybody else meanwhile
            raise ObjectStorageFull(str(self.folder.path), total, free)
        if not self._allocate(rounded(total)):
            reusable.give_back()
            if not self._allocate(total):
                raise ObjectStorageFull(str(self.folder.path), total, self.folder.free_bytes())

    def _allocate(self, total: int) -> bool:
        """Return False where the memory is short."""
        try:
            # In steps: a signal makes the system undo a step and repeat it, a profiler's timer would do so forever.
            for start in range(0, total, _ALLOCATION_STEP_BYTES):
                os.posix_fallocate(self._descriptor, start, min(_ALLOCATION_STEP_BYTES, total - start))
        except OSError as error:
            if error.errno not in _FULL:
                raise
            os.ftruncate(self._descriptor, 0)
            return False
        return True


def write_object(folder: Folder, key: bytes, owner: bytes, parts: Parts) -> Header:
    """Store an object. Raises as `PartFile` does."""
    part = PartFile(folder, parts.size)
    try:
        part.write(0, parts.pieces)
    except BaseException:
        part.discard()
        raise
    return part.commit(key, owner)


def map_object(folder: Folder, key: bytes) -> memoryview | None:
    """Return the bytes of an object without a copy, None where there is none. Raises `ObjectStorageError`.

    The file is pinned as long as anything refers to them.
    """
    try:
        descriptor = _open(folder, key)
        if descriptor is None:
            return None
        try:
            return _map_pinned(folder, descriptor, key)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ObjectStorageError(f"cannot map object {key.hex()} in {folder.path}: {error.strerror}") from error


def read_value(folder: Folder, key: bytes) -> Pieces | None:
    """Return a value all of whose buffers are `bytes` objects, read right into these. Raises `ObjectStorageError`.

    None where there is none, or another one: that is to be mapped. This takes less than to map and to copy out of that,
    does not hold the interpreter while it copies, and needs no pin: who frees a file clears its header before anybody
    writes to it again, and no two contents have the same. So if it is there after reading, it was all the time.
    """
    try:
        descriptor = _open(folder, key)
        if descriptor is None:
            return None
        try:
            return _read_value(descriptor, key)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ObjectStorageError(f"cannot read object {key.hex()} in {folder.path}: {error.strerror}") from error


def recycle(folder: Folder, key: bytes) -> str | None:
    """Delete an object; its file becomes a free one, or is removed. Raises `OSError`.

    If somebody looks at it, the file is kept under the name that is returned (`held_files.py`). This is for the server:
    not for two processes at once.
    """
    name = _passing_name()
    try:
        folder.rename(key.hex(), name)  # nobody else knows this name: it cannot be replaced any more
    except FileNotFoundError:
        return None
    is_free = make_free(folder, name)
    if is_free is None:
        return name
    if not is_free:
        folder.unlink(name)
    return None


def make_free(folder: Folder, name: str) -> bool | None:
    """Make a file that has a passing name a free one; False if it is none to be kept, None if somebody looks at it."""
    try:
        # No link: what lies elsewhere is not for this directory (`disk.py`).
        descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.descriptor)
    except OSError:
        return False
    try:
        return _make_free(folder, descriptor, name)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def read_header(folder: Folder, key: bytes) -> Header | None:
    """Return what a file says, None where there is no such object. Raises `OSError`."""
    descriptor = _open(folder, key)
    if descriptor is None:
        return None
    try:
        return _read_header(descriptor, key, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def read_chunk(folder: Folder, key: bytes, version: int, offset: int, length: int) -> bytes | None:
    """Return bytes of an object, None where it does not exist with this content. Raises `OSError`."""
    descriptor = _open(folder, key)
    if descriptor is None:
        return None
    try:
        header = _read_header(descriptor, key, os.fstat(descriptor).st_size)
        if header is None or header.version != version or offset + length > header.size:
            return None
        return os.pread(descriptor, length, HEADER_BYTES + offset)
    finally:
        os.close(descriptor)


def _map_pinned(folder: Folder, descriptor: int, key: bytes) -> memoryview | None:
    status = os.fstat(descriptor)
    if status.st_size < HEADER_BYTES or not folder.pins.pin(descriptor, status.st_ino):
        return None
    try:
        header = _read_header(descriptor, key, status.st_size)  # only now: before, it could have become a free file
        if header is not None:
            _note_use(descriptor, status)
            pins, inode = folder.pins, status.st_ino
            view = map_file(descriptor, HEADER_BYTES + header.size, lambda: pins.end(inode))
            return view[HEADER_BYTES:]
    except BaseException:
        folder.pins.end(status.st_ino)
        raise
    folder.pins.end(status.st_ino)
    return None


def _read_value(descriptor: int, key: bytes) -> Pieces | None:
    first, status = os.pread(descriptor, _FIRST_BYTES, 0), os.fstat(descriptor)
    header = Header.unpack(first[:HEADER_BYTES])
    if header is None or header.key != key or HEADER_BYTES + header.size > status.st_size:
        return None
    places = places_of_bytes(first[HEADER_BYTES : HEADER_BYTES + header.size], header.size)
    if places is None or any(size > _MOST_READ_BYTES for _, size in places):
        return None
    _note_use(descriptor, status)
    (start, size), *buffers = places
    pieces = Pieces(
        first[HEADER_BYTES + start : HEADER_BYTES + start + size],
        [os.pread(descriptor, size, HEADER_BYTES + start) for start, size in buffers],
    )
    is_whole = all(len(piece) == size for piece, (_, size) in zip(pieces.buffers, buffers, strict=True))
    is_unchanged = os.pread(descriptor, HEADER_BYTES, 0) == first[:HEADER_BYTES]
    return pieces if is_whole and is_unchanged else None


def _note_use(descriptor: int, status: os.stat_result) -> None:
    """Let the server see that the object is in use (`disk.py`); the system itself notes that once a day at most."""
    now = time.time_ns()
    if now - max(status.st_atime_ns, status.st_mtime_ns) > _USE_NOTED_NS:
        with suppress(OSError):
            os.utime(descriptor, ns=(now, status.st_mtime_ns))


def _make_free(folder: Folder, descriptor: int, name: str) -> bool | None:
    status = os.fstat(descriptor)
    if status.st_size < SMALLEST_BYTES:
        return False
    if not folder.pins.claim(status.st_ino):
        return None
    try:
        if not is_reusable(os.fstat(descriptor)):  # only now: readers mark while they have a pin
            return False
        os.pwrite(descriptor, bytes(HEADER_BYTES), 0)  # who has it open, but no pin yet, sees that it is no object
        return folder.free_files.add(name, status.st_size)
    finally:
        folder.pins.unclaim(status.st_ino)


def _open(folder: Folder, key: bytes) -> int | None:
    with suppress(FileNotFoundError):
        return os.open(key.hex(), os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder.descriptor)
    return None


def _read_header(descriptor: int, key: bytes, total: int) -> Header | None:
    header = Header.unpack(os.pread(descriptor, HEADER_BYTES, 0))
    return header if header is not None and header.key == key and HEADER_BYTES + header.size <= total else None


def _passing_name() -> str:
    return os.urandom(16).hex() + PART_SUFFIX
