"""Moves objects to the disk beside the server's loop, one after another, when the memory's limit is passed."""

import asyncio
import logging
import time

from scaler_object_storage.disk import Disk
from scaler_object_storage.errors import ObjectStorageError

LOOK_SECONDS = 0.1
"""Between two looks at what the objects take, at least: looking costs a few microseconds an object."""

_LARGEST_SHARE = 0.05  # of the time, for looking
PAUSE_SECONDS = 10.0
"""After a failure."""

_log = logging.getLogger(__name__)


class Mover:
    """Of the loop's thread."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._is_due = True
        self._look_at = 0.0
        self._moving: asyncio.Task[None] | None = None
        self._is_stopped = False

    @property
    def is_moving(self) -> bool:
        """Whether an object is on its way."""
        return self._moving is not None

    def note_stored(self) -> None:
        """There may be more objects now than before."""
        self._is_due = True

    def next_wakeup(self) -> float | None:
        """Return when `look` is wanted."""
        return self._look_at if self._is_due and self._moving is None else None

    def look(self, now: float) -> None:
        """Begin to move what is too much; `now` is the driver's time."""
        if not self._is_due or now < self._look_at or self._moving is not None:
            return
        self._is_due = False
        began = time.perf_counter()
        try:
            keys = self._disk.excess()
            if keys:
                self._disk.open()
                self._moving = asyncio.get_running_loop().create_task(self._move(keys))
        except (OSError, ObjectStorageError) as error:
            self._fail(str(error), now)
            return
        self._look_at = now + max(LOOK_SECONDS, (time.perf_counter() - began) / _LARGEST_SHARE)

    async def stop(self) -> None:
        """End soon; what was being moved stays where it was."""
        self._is_stopped = True
        if self._moving is not None:
            await self._moving

    async def _move(self, keys: list[bytes]) -> None:
        try:
            for key in keys:
                version = await asyncio.to_thread(self._disk.copy, key, lambda: not self._is_stopped)
                if self._is_stopped:
                    return
                if version is not None:
                    self._disk.replace(key, version)
        except (OSError, ObjectStorageError) as error:
            self._fail(str(error), time.monotonic())
        finally:
            self._moving = None

    def _fail(self, reason: str, now: float) -> None:
        _log.error("objects stay in memory, more than they should take: %s", reason)
        self._is_due = True
        self._look_at = now + PAUSE_SECONDS
