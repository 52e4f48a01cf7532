"""A directory of objects, opened: what is done through it stays in this one, also when another takes its name.

One object is one file, under the hexadecimal digits of its key (`object_file.py`).
"""

import os
from pathlib import Path

from scaler_object_storage.free_files import FreeFiles
from scaler_object_storage.pins import Pins


class Folder:
    """Usable from any thread. Its descriptor is closed when nothing refers to it any more."""

    def __init__(self, path: Path) -> None:
        """Raise `FileNotFoundError`, or another `OSError`."""
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.free_files = FreeFiles(self.descriptor)
        try:
            self.pins = Pins(self.descriptor)
        except BaseException:
            os.close(self.descriptor)
            self.descriptor = -1
            raise

    def __del__(self) -> None:
        if self.__dict__.get("descriptor", -1) >= 0:
            os.close(self.descriptor)

    def free_bytes(self) -> int:
        """Return how much memory is left under it. What free files take comes on top of that."""
        status = os.fstatvfs(self.descriptor)
        return status.f_bavail * status.f_frsize

    def used_bytes(self) -> int | None:
        """Return how much is taken of the whole file system under it, None where that has no size of its own."""
        status = os.fstatvfs(self.descriptor)
        return (status.f_blocks - status.f_bfree) * status.f_frsize if status.f_blocks else None

    @property
    def is_current(self) -> bool:
        """Whether the path still leads to it."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self.descriptor))
        except OSError:
            return False

    def read(self, name: str) -> bytes:
        """Return the bytes of a short file. Raises `OSError`."""
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.descriptor)
        try:
            return os.read(descriptor, 4096)
        finally:
            os.close(descriptor)

    def unlink(self, name: str) -> None:
        """Remove a file if it is there."""
        try:
            os.unlink(name, dir_fd=self.descriptor)
        except FileNotFoundError:
            return

    def rename(self, old: str, new: str) -> None:
        """Raise `FileNotFoundError`, or another `OSError`."""
        os.rename(old, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
