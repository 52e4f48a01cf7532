"""What a process that streams its tasks' output leaves behind when it dies: what it has read, and what is in the pipes.

The process reads its pipes into memory that its host shares, so that nothing is lost that it had not sent. What it may
have sent the host says again: the scheduler knows how far it has heard.
"""

import ctypes
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from scaler_protocol.messages import TaskOutput
from scaler_runtime.stderr_relay import TAIL_BYTES

STREAMING: Final = "streaming"
"""The first word of what a process tells its host when it begins to stream to a client; the second is the client's id.
The third is the number of the stream. The reading ends of both pipes come with it, and the descriptors of their spools.
"""

MOST_BYTES: Final = 4 << 20
"""Read of one pipe at most: something that outlives the process may go on writing."""

CHUNK_BYTES: Final = 64 << 10
"""The most that one message takes along."""

KEPT_BYTES: Final = 2 << 20
"""Of what a process has read of a pipe the end is kept: more than it ever has read and not sent."""

_ACTIVE_AT = 1 << 40
_PUNCH_HOLE = 0x3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, see fallocate(2)


class Spool:
    """What a process has read of one pipe, by byte. Its end is the descriptor's offset, which moves with the bytes.

    Far behind it stands whether the descriptor that is streamed goes to the pipe at the moment.
    """

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("scaler-output", os.MFD_CLOEXEC)
        self.position = 0
        self._freed = 0

    def fill(self, pipe: int, size: int) -> bytes:
        """Take at most so many bytes out of the pipe, in one step that is done or not, and return them."""
        moved = os.splice(pipe, self.descriptor, size)
        data = os.pread(self.descriptor, moved, self.position)
        self.position += moved
        if self.position - self._freed > 2 * KEPT_BYTES:
            self._freed = self.position - KEPT_BYTES
            _libc.fallocate(self.descriptor, _PUNCH_HOLE, ctypes.c_long(0), ctypes.c_long(self._freed))
        return data

    def set_active(self, *, is_active: bool) -> None:
        """Say whether what is written goes to the pipe at the moment."""
        os.pwrite(self.descriptor, b"\1" if is_active else b"\0", _ACTIVE_AT)

    def close(self) -> None:
        os.close(self.descriptor)


class Leftovers:
    """The host's copies of a process's descriptors, as they came with `STREAMING`."""

    def __init__(self, client_id: bytes, stream: int, descriptors: Sequence[int]) -> None:
        self._client_id = client_id
        self._stream = stream
        self._descriptors = tuple(descriptors)

    def take(self, worker_id: str, incarnation: int) -> tuple[list[TaskOutput], bytes | None]:
        """Return what may not have been sent, and the end of its standard error, None if that went elsewhere then."""
        out_pipe, error_pipe, out_spool, error_spool = self._descriptors
        out, error = _read(out_pipe, out_spool), _read(error_pipe, error_spool)
        messages = [
            TaskOutput(
                self._client_id,
                is_error,
                data[begin : begin + CHUNK_BYTES],
                stream=self._stream,
                position=start + begin,
                worker_id=worker_id,
                incarnation=incarnation,
            )
            for is_error, (start, data) in ((False, out), (True, error))
            for begin in range(0, len(data), CHUNK_BYTES)
        ]
        is_active = os.pread(error_spool, 1, _ACTIVE_AT) == b"\1"
        return messages, error[1][-TAIL_BYTES:] if is_active else None

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)


def _read(pipe: int, spool: int) -> tuple[int, bytes]:
    """Return the end of what was written, and where in the stream it begins."""
    end = os.lseek(spool, 0, os.SEEK_CUR)
    start = max(0, end - KEPT_BYTES)
    data = bytearray(os.pread(spool, end - start, start))
    most = len(data) + MOST_BYTES
    with suppress(BlockingIOError):
        while len(data) < most and (part := os.read(pipe, CHUNK_BYTES)):
            data += part
    return start, bytes(data)


_libc = ctypes.CDLL(None)
