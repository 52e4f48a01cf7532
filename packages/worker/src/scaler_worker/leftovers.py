"""What a process that streams its tasks' output leaves behind when it dies: in the pipes, and the end of what it wrote.

The process writes the end of its standard error into memory that its host shares, since it has read its pipes itself.
"""

import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from scaler_protocol.messages import TaskOutput
from scaler_runtime.stderr_relay import TAIL_BYTES

STREAMING: Final = "streaming"
"""The first word of what a process tells its host when it begins to stream to a client; the second is the client's id.

The reading ends of both pipes come with it, and the descriptor of a `Tail`."""

MOST_BYTES: Final = 4 << 20
"""Read of one pipe at most: something that outlives the process may go on writing."""

CHUNK_BYTES: Final = 64 << 10
"""The most that one message takes along."""

_SIZE = struct.Struct("<I")
_ACTIVE_AT, _TAIL_AT = 0, 4


class Tail:
    """The end of what tasks wrote to their standard error, in memory that can be read when the process is dead."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("scaler-stderr", os.MFD_CLOEXEC)
        self._last = bytearray()

    def set_active(self, *, is_active: bool) -> None:
        """Say whether standard error goes to the pipe at the moment."""
        os.pwrite(self.descriptor, b"\1" if is_active else b"\0", _ACTIVE_AT)

    def add(self, data: bytes) -> None:
        """Take in what was written."""
        self._last += data[-TAIL_BYTES:]
        del self._last[:-TAIL_BYTES]
        os.pwrite(self.descriptor, _SIZE.pack(len(self._last)) + self._last, _TAIL_AT)

    def close(self) -> None:
        os.close(self.descriptor)


class Leftovers:
    """The host's copies of a process's descriptors, as they came with `STREAMING`."""

    def __init__(self, client_id: bytes, descriptors: Sequence[int]) -> None:
        self._client_id = client_id
        self._stdout, self._stderr, self._tail = self._descriptors = tuple(descriptors)

    def take(self) -> tuple[list[TaskOutput], bytes | None]:
        """Return what was not sent, and the end of its standard error, None if that went elsewhere in the end."""
        out, error = _read(self._stdout), _read(self._stderr)
        messages = [
            TaskOutput(self._client_id, is_error, data[begin : begin + CHUNK_BYTES])
            for is_error, data in ((False, out), (True, error))
            for begin in range(0, len(data), CHUNK_BYTES)
        ]
        is_active = os.pread(self._tail, 1, _ACTIVE_AT) == b"\1"
        return messages, (_read_tail(self._tail) + error)[-TAIL_BYTES:] if is_active else None

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)


def _read(pipe: int) -> bytes:
    data = bytearray()
    with suppress(BlockingIOError):
        while len(data) < MOST_BYTES and (part := os.read(pipe, CHUNK_BYTES)):
            data += part
    return bytes(data)


def _read_tail(descriptor: int) -> bytes:
    header = os.pread(descriptor, _SIZE.size, _TAIL_AT)
    size = _SIZE.unpack(header)[0] if len(header) == _SIZE.size else 0
    return os.pread(descriptor, min(size, TAIL_BYTES), _TAIL_AT + _SIZE.size)
