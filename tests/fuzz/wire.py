"""The other end of a ZeroMQ socket by hand: what a library would never send."""

import contextlib
import socket
import struct
from typing import Self

from scaler_protocol import codec
from scaler_protocol import messages as m
from scaler_protocol import storage_messages as sm
from scaler_protocol.addresses import Address

_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)  # ZMTP 3.0
_MORE, _LONG, _COMMAND = 1, 2, 4
SECONDS = 10.0


class Wire:
    """A TCP connection. Everything raises `OSError` once the other end has closed it."""

    def __init__(self, address: str) -> None:
        place = Address.from_string(address)
        self.socket = socket.create_connection((place.host, place.port), SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.socket.close()

    def greet(self, kind: bytes = b"DEALER") -> None:
        """Do what comes before the first message."""
        self.socket.sendall(_GREETING)
        self._read(64)
        body = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
        self.socket.sendall(bytes([_COMMAND, len(body)]) + body)
        header = self._read(2)
        self._read(header[1])

    def frame(self, data: bytes, *, more: bool = False) -> None:
        """Send a frame."""
        self.socket.sendall(struct.pack(">BQ", _LONG | (_MORE if more else 0), len(data)) + data)

    def claim(self, size: int) -> None:
        """Say that a frame of so many bytes comes."""
        self.socket.sendall(struct.pack(">BQ", _LONG, size))

    def message(self, frames: list[bytes]) -> None:
        """Send a message."""
        for at, data in enumerate(frames):
            self.frame(data, more=at < len(frames) - 1)

    def answer(self) -> m.Packet:
        """Return the next packet that comes and says something."""
        while True:
            packet = codec.decode(self._message())
            if packet.messages:
                return packet

    def storage_answer(self) -> list[sm.StorageMessage]:
        """Return what comes next from an object storage."""
        return codec.decode_storage(self._message()).messages

    def _message(self) -> list[bytes]:
        frames: list[bytes] = []
        while True:
            flags = self._read(1)[0]
            data = self._read(int.from_bytes(self._read(8 if flags & _LONG else 1), "big"))
            if flags & _COMMAND:
                continue
            frames.append(data)
            if not flags & _MORE:
                return frames

    def raw(self, data: bytes) -> None:
        """Send bytes that may be anything."""
        self.socket.sendall(data)

    def is_closed(self, seconds: float = SECONDS) -> bool:
        """Whether the other end closes the connection."""
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(1 << 16):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionError("closed")
            data += part
        return data


def suppressed() -> contextlib.suppress:
    """Expect that the other end may close the connection at any moment."""
    return contextlib.suppress(OSError)
