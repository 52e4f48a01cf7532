"""The directory of one server's objects in shared memory: `/dev/shm/scaler-<uid>/<hash of the address>/`.

lock     held as long as the server lives; its time of change is the server's last sign of life
nonce    random bytes: a peer that reads them here shares the machine
pins     who looks at which file (`pins.py`)
<hex>    committed objects, named by their keys
*.part   objects on their way
reusable/ files that are to be written again (`free_files.py`)
"""

import contextlib
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from scaler_object_storage.errors import DirectoryError
from scaler_object_storage.folder import Folder
from scaler_object_storage.free_files import FREE
from scaler_object_storage.object_file import PART_SUFFIX
from scaler_protocol.addresses import Address
from scaler_protocol.identifiers import new_id

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made there is checked to be ours
PART_GRACE_SECONDS = 5.0
"""A part without a lock may be that young: its writer is about to lock it."""

_LOCK = "lock"
_NONCE = "nonce"
_REMOVED_SUFFIX = ".removed"
_NAME = re.compile(r"[0-9a-f]{32}\Z")
_ATTEMPTS = 10


def user_folder(root: Path = SHARED_MEMORY) -> Path:
    """Return the folder that holds the directories of all servers of this user."""
    return root / f"scaler-{os.getuid()}"


def directory_name(address: Address) -> str:
    """Return the name of the directory of the server at an address: 32 hexadecimal digits."""
    return blake2b(str(address).encode(), digest_size=16).hexdigest()


def shared_folder(name: str, nonce: bytes, root: Path = SHARED_MEMORY) -> Folder | None:
    """Return the directory that a server named, if it can be reached from here without the network."""
    if not _NAME.match(name):
        return None
    with contextlib.suppress(OSError):
        folder = Folder(user_folder(root) / name)
        if folder.read(_NONCE) == nonce:
            return folder
    return None


class Directory:
    """The server's own directory. What lies there from an earlier server at the same address is kept."""

    def __init__(self, address: Address, root: Path = SHARED_MEMORY) -> None:
        """Create and lock it; raises `DirectoryError`."""
        self.name = directory_name(address)
        self.nonce = new_id()
        self.path = user_folder(root) / self.name
        try:
            self._lock = self._claim()
            try:
                self.folder = self._prepare()
            except BaseException:
                os.close(self._lock)  # else it would be in use for ever, by nobody
                raise
        except OSError as error:
            raise DirectoryError(f"cannot use {self.path}: {error.strerror}") from error

    def keys(self) -> list[bytes]:
        """Return the keys of all committed objects. Raises `OSError`."""
        return [bytes.fromhex(name) for name in os.listdir(self.path) if is_key(name)]  # noqa: PTH208 - names are wanted

    def touch(self) -> None:
        """Give a sign of life. Raises `OSError` where the directory was removed by somebody."""
        os.utime(self.path / _LOCK)

    def collect_parts(self, now: float) -> int:
        """Remove what dead writers left; `now` is the time of day. Returns how many there were."""
        found = 0
        for path in self.path.glob(f"*{PART_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                if now - path.stat().st_mtime > PART_GRACE_SECONDS and _is_unlocked(path):
                    path.unlink()
                    found += 1
        return found

    def release(self) -> None:
        """Let another server have it, with all objects."""
        os.close(self._lock)
        del self.folder

    def remove(self) -> None:
        """Remove it with all objects; who has mapped some keeps them."""
        _remove(self.path)
        self.release()
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()  # succeeds only when it is empty

    def _prepare(self) -> Folder:
        fresh = self.path / f"{_NONCE}{PART_SUFFIX}"
        fresh.write_bytes(self.nonce)
        fresh.rename(self.path / _NONCE)
        (self.path / FREE).mkdir(mode=0o700, exist_ok=True)
        return Folder(self.path)

    def _claim(self) -> int:
        self.path.parent.parent.stat()  # raises where there is nothing to make it in
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):  # others may be removing what is empty
                _make_own_folder(self.path.parent)
                self.path.mkdir(mode=0o700, exist_ok=True)
                descriptor = _lock(self.path / _LOCK)
                if descriptor is None:
                    raise DirectoryError(f"{self.path} is in use by another object storage")
                if _is_same(descriptor, self.path / _LOCK):
                    os.utime(descriptor)
                    return descriptor
                os.close(descriptor)  # it was just being removed
        raise DirectoryError(f"{self.path} is being removed by others all the time")


def remove_stale(retention_seconds: float, now: float, root: Path = SHARED_MEMORY) -> list[Path]:
    """Remove directories whose server ended more than `retention_seconds` ago and did not come back.

    `now` is the time of day. Returns what was removed.
    """
    removed: list[Path] = []
    for path in _directories(user_folder(root)):
        with contextlib.suppress(OSError):
            if path.suffix != _REMOVED_SUFFIX and now - _lived(path) <= retention_seconds:
                continue
            descriptor = _lock(path / _LOCK)
            if descriptor is not None:
                _remove(path)
                os.close(descriptor)
                removed.append(path)
    return removed


def remove_directory(address: Address, root: Path = SHARED_MEMORY) -> bool:
    """Remove what a server at this address left, if it is gone. Returns whether nothing is left."""
    folder = user_folder(root) / directory_name(address)
    try:
        descriptor = _lock(folder / _LOCK)
    except FileNotFoundError:
        return True
    if descriptor is None:
        return False
    _remove(folder)
    os.close(descriptor)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
    return True


def _make_own_folder(folder: Path) -> None:
    """Make the user's folder; everybody may write to its parent, so somebody else may have made it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise DirectoryError(f"{folder} must be a directory of this user with mode 0700")


def _directories(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        yield from (path for path in folder.iterdir() if _NAME.match(path.name.partition(".")[0]))


def _lived(folder: Path) -> float:
    """Return the time of day of the last sign of life: of the server, or of somebody who stored something."""
    lived = folder.stat().st_mtime
    with contextlib.suppress(FileNotFoundError):
        lived = max(lived, (folder / _LOCK).stat().st_mtime)
    return lived


def _remove(folder: Path) -> None:
    """Remove a directory whose lock is held. The name goes first: nobody shall find half of it."""
    doomed = folder if folder.suffix == _REMOVED_SUFFIX else folder.with_suffix(f".{new_id().hex()}{_REMOVED_SUFFIX}")
    with contextlib.suppress(FileNotFoundError):
        if doomed is not folder:
            folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _lock(path: Path) -> int | None:
    """Return an open, locked file; None if somebody else holds the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _is_unlocked(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_same(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def is_key(name: str) -> bool:
    """Whether a file of this name is an object."""
    try:
        return bytes.fromhex(name).hex() == name
    except ValueError:
        return False
