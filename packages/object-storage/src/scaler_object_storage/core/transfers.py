"""Objects on their way to or from a server on another machine, in chunks, few of them at a time. No IO."""

import mmap
from collections.abc import Iterator

from scaler_object_storage.values import Parts
from scaler_protocol import storage_messages as sm

WINDOW_BYTES = 8 * sm.CHUNK_BYTES
"""Of one object: most that was sent or asked for and not answered. Covers a round trip of 8 ms at 1 GB/s."""


class Upload:
    """What the server has of an object, and what was sent beyond. To begin again, another one is made."""

    def __init__(self, request_id: int, upload_id: bytes, parts: Parts) -> None:
        self.request_id = request_id
        self.upload_id = upload_id
        self.is_complete = False
        self._parts = parts
        self._position = 0
        self._sent = 0
        self._unanswered = 1  # `begin`

    def begin(self, key: bytes, owner: bytes) -> sm.BeginUpload:
        """Return the first message."""
        return sm.BeginUpload(self.request_id, self.upload_id, key, owner, self._parts.size)

    def on_reconnected(self) -> None:
        """Wait for the answer to `begin`: what was sent may be lost."""
        self._unanswered = 1

    def on_position(self, position: int) -> bool:
        """Take in an answer; whether it brought the object forward."""
        is_progress = position > self._position
        self._unanswered -= 1
        self._position = position
        if self._unanswered == 0:
            self._sent = position  # nothing is under way: what lies behind was lost
        self.is_complete = position == self._parts.size
        return is_progress

    def chunks(self) -> Iterator[sm.UploadChunk]:
        """Return what may be sent now."""
        while self._sent < self._parts.size and self._sent - self._position < WINDOW_BYTES:
            payload = self._parts.cut(self._sent, sm.CHUNK_BYTES)
            yield sm.UploadChunk(self.request_id, self.upload_id, self._sent, payload)
            self._sent += len(payload)
            self._unanswered += 1


class Download:
    """The bytes of an object that have come, in memory of their own."""

    def __init__(self, size: int, version: int) -> None:
        """Raise `OSError`, `OverflowError` or `MemoryError` where there is no memory for so many bytes."""
        self._size = size
        self._version = version
        self._memory = memoryview(_reserve(size) if size else b"")
        self._missing = size
        self._next = 0
        self._asked = 0

    @property
    def is_complete(self) -> bool:
        """Whether all bytes have come."""
        return self._missing == 0

    def content(self) -> memoryview:
        """Return the bytes."""
        return self._memory.toreadonly()

    def offsets_to_read(self) -> Iterator[int]:
        """Return where the chunks begin that may be asked for now."""
        while self._next < self._size and self._asked < WINDOW_BYTES:
            yield self._next
            self._asked += self._length(self._next)
            self._next += sm.CHUNK_BYTES

    def read(self, request_id: int, key: bytes, offset: int) -> sm.ReadChunk:
        """Return the request for the chunk at an offset."""
        return sm.ReadChunk(request_id, key, self._version, offset, self._length(offset))

    def accept(self, offset: int, payload: bytes) -> bool:
        """Take in a chunk, each once; False for one of a wrong length."""
        if len(payload) != self._length(offset):
            return False
        self._memory[offset : offset + len(payload)] = payload
        self._missing -= len(payload)
        self._asked -= len(payload)
        return True

    def _length(self, offset: int) -> int:
        return min(sm.CHUNK_BYTES, self._size - offset)


def _reserve(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
