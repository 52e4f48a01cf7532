"""How much memory the objects may take, and where those go that are too many. From the environment: see `config.py`."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MEMORY = "SCALER_OBJECT_STORAGE_MEMORY"
DISK = "SCALER_OBJECT_STORAGE_DISK"

DEFAULT_SHARE = 3 / 4
"""Of the file system under the objects."""

DEFAULT_DISK = Path("/var/tmp")  # noqa: S108 - what is made there is checked to be ours

_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(?:i?B)?\Z", re.IGNORECASE)
_POWERS = "KMGT"


@dataclass(frozen=True, slots=True)
class Limits:
    """`memory_bytes` None: the default share. `disk` None: nothing goes to disk."""

    memory_bytes: int | None = None
    disk: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Limits":
        """Raise `ValueError`, which names the variable."""
        memory, disk = environment.get(MEMORY, ""), environment.get(DISK, str(DEFAULT_DISK))
        # Absolute: links that lie elsewhere lead there (`disk.py`).
        return cls(_bytes_of(memory) if memory else None, Path(disk).absolute() if disk else None)

    def memory_of(self, folder: Path) -> int:
        """Return the limit in bytes for objects under this folder."""
        if self.memory_bytes is not None:
            return self.memory_bytes
        status = os.statvfs(folder)
        return int(status.f_blocks * status.f_frsize * DEFAULT_SHARE)


def _bytes_of(text: str) -> int:
    found = _SIZE.match(text.strip())
    if found is None:
        raise ValueError(f"{MEMORY}={text!r} is no number of bytes: say 8G, 500M, or a number alone")
    return int(found[1]) << 10 * (1 + _POWERS.index(found[2].upper()) if found[2] else 0)
