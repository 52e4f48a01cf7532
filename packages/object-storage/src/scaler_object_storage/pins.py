"""Who looks at which file: what is pinned is not written again.

A pin is a lock of the kernel's on one byte of the file `pins`: the byte at the number of the pinned file's inode. So it
belongs to a process and ends with it, however that ends; no server has to know of it. (Locks of *open file
descriptions*, as `fcntl(2)` calls them: closing another descriptor of the file does not end them.)
"""

import errno
import fcntl
import os
import struct
import threading
from collections import Counter, deque
from weakref import WeakSet

PINS = "pins"

MAX_PINS = 1000
"""The kernel looks through a list: of more files than that, each is marked as one that is never used again instead."""

_NEVER_REUSED, _WRITABLE = 0o400, 0o200  # modes
_LOCK = struct.Struct("@hhqqi4x")  # struct flock: type, whence, start, length, process
_HELD = frozenset({errno.EAGAIN, errno.EACCES})
_UNKNOWN = frozenset({errno.EINVAL, errno.ENOSYS})


class Pins:
    """The pins of one process in one directory. Usable from any thread; ends when nothing refers to it any more."""

    def __init__(self, folder: int) -> None:
        """`folder`: a descriptor. Raises `OSError`."""
        self._descriptor = -1
        self._descriptor = os.open(PINS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=folder)
        self._counts: Counter[int] = Counter()  # by inode
        self._kept: set[int] = set()
        self._ended: deque[int] = deque()
        self._lock = threading.Lock()
        with _all_lock:
            _all.add(self)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def pin(self, descriptor: int, inode: int) -> bool:
        """Pin an open file until `end` is called as often; False while somebody makes it a free one. Raises `OSError`.

        Only what is read from the file after that is safe from being written over.
        """
        self.release()
        with self._lock:
            if inode not in self._counts:
                if not self._try(fcntl.F_RDLCK, inode):
                    return False
                if len(self._counts) >= MAX_PINS:
                    os.fchmod(descriptor, _NEVER_REUSED)
                    self._kept.discard(inode)
                    self._try(fcntl.F_UNLCK, inode)
                    return True
            self._counts[inode] += 1
        return True

    def end(self, inode: int) -> None:
        """Take a pin back, soon. For finalizers: neither waits nor locks."""
        self._ended.append(inode)

    def release(self) -> None:
        """Tell the kernel of the pins that have ended."""
        if not self._ended:
            return
        with self._lock:
            while self._ended:
                inode = self._ended.popleft()
                count = self._counts[inode] - 1
                if count > 0:
                    self._counts[inode] = count
                    continue
                del self._counts[inode]
                if count == 0 and inode not in self._kept:
                    self._try(fcntl.F_UNLCK, inode)

    def claim(self, inode: int) -> bool:
        """Return whether nobody looks at a file; then nobody can, until `unclaim`. Raises `OSError`."""
        self.release()
        with self._lock:  # the kernel would turn an own pin into the claim
            is_own = inode in self._counts or inode in self._kept
            return not is_own and self._try(fcntl.F_WRLCK, inode)

    def unclaim(self, inode: int) -> None:
        """Let others look at it again."""
        self._try(fcntl.F_UNLCK, inode)

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork(self, *, in_child: bool) -> None:
        """The child has the same views: the pins, which both hold together, end when both have ended."""
        if not in_child:
            self._kept.update(self._counts)
        self._lock.release()

    def _try(self, kind: int, inode: int) -> bool:
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _LOCK.pack(kind, os.SEEK_SET, inode, 1, 0))
        except OSError as error:
            if error.errno in _HELD:
                return False
            if error.errno in _UNKNOWN:  # a kernel without these locks: then nobody can claim a file
                return kind != fcntl.F_WRLCK
            raise
        return True


def is_reusable(status: os.stat_result) -> bool:
    """Whether a file was not marked."""
    return status.st_mode & _WRITABLE != 0


_all: WeakSet[Pins] = WeakSet()
_all_lock = threading.Lock()
_forking: list[Pins] = []


def _before_fork() -> None:
    _all_lock.acquire()
    _forking.extend(_all)
    for pins in _forking:
        pins.before_fork()


def _after_fork(*, in_child: bool) -> None:
    while _forking:
        _forking.pop().after_fork(in_child=in_child)
    _all_lock.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=lambda: _after_fork(in_child=False),
    after_in_child=lambda: _after_fork(in_child=True),
)
