"""The file of an `ipc` address: whether it may be bound, and its removal.

ZeroMQ removes whatever lies at the path before it binds, be it a living server's, and leaves its own file behind.
"""

import contextlib
import errno
import hashlib
import os
import socket
import stat
from collections.abc import Generator
from pathlib import Path

_ABSTRACT = "@"  # begins a name that has no file (zmq_ipc(7))


class SocketFile:
    """See the module. Nothing happens for names in the system's abstract namespace: these have no file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._has_file = not path.startswith(_ABSTRACT)
        self._made: os.stat_result | None = None

    @contextlib.contextmanager
    def claimed(self) -> Generator[None]:
        """Hold the path against others who want to bind it, while it is bound.

        Raises `OSError` where a server listens there, where something else lies there, or where nothing can. What a
        server left behind that has died counts for nothing.
        """
        if not self._has_file:
            yield
            return
        with socket.socket(socket.AF_UNIX) as claim:
            claim.bind(_name_of_claim(self._path))
            _refuse_if_taken(self._path)
            yield
            with contextlib.suppress(FileNotFoundError):  # it was only asked whether it could be
                self._made = os.lstat(self._path)

    def remove(self) -> None:
        """Remove what was bound, unless somebody has put another file there. May be repeated."""
        with contextlib.suppress(OSError):
            if self._made is not None and os.path.samestat(self._made, os.lstat(self._path)):
                Path(self._path).unlink()
        self._made = None


def _name_of_claim(path: str) -> str:
    """Return a name in the abstract namespace: it is gone with its owner, however that ends."""
    file = Path(path)
    folder = file.parent.stat()  # the same path can be written in several ways
    identity = f"{folder.st_dev}/{folder.st_ino}/{file.name}"
    return f"\0scaler-{hashlib.sha256(identity.encode()).hexdigest()}"


def _refuse_if_taken(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise _refusal(errno.EEXIST)
        probe.setblocking(False)
        with contextlib.suppress(BlockingIOError):  # it listens, and has much to do
            probe.connect(path)
        raise _refusal(errno.EADDRINUSE)


def _refusal(number: int) -> OSError:
    return OSError(number, os.strerror(number))
