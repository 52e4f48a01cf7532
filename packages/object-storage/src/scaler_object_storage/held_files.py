"""Files of deleted objects that somebody still looks at: to be written again as soon as nobody does.

Where that takes long, only their name goes, and the system frees them with the last view.
"""

from scaler_object_storage.folder import Folder
from scaler_object_storage.object_file import make_free

HELD_SECONDS = 5.0
LOOK_SECONDS = 0.1
MAX_HELD = 200
"""More are not looked after: looking costs a few microseconds each."""


class HeldFiles:
    """Of one directory; for the server. What a crash leaves of them are parts that nobody has locked."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._until: dict[str, float] = {}  # by name, the oldest first
        self._look_at = 0.0

    def add(self, name: str, now: float) -> None:
        """Look after a file that has a passing name."""
        if len(self._until) >= MAX_HELD:
            self._folder.unlink(name)
            return
        if not self._until:
            self._look_at = now + LOOK_SECONDS
        self._until[name] = now + HELD_SECONDS

    def next_wakeup(self) -> float | None:
        """Return when `look` is wanted."""
        return self._look_at if self._until else None

    def look(self, now: float) -> None:
        """Make free what nobody looks at any more."""
        if not self._until or now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        for name, until in list(self._until.items()):
            is_free = make_free(self._folder, name)
            if is_free is None and now < until:
                continue
            del self._until[name]
            if not is_free:
                self._folder.unlink(name)
