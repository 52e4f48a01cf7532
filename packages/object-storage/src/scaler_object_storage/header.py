"""The first 256 bytes of an object's file: magic, lengths, size, version, key, owner, CRC-32 of all that.

They are written last: a file without a valid header is no object. The bytes of the object follow.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Final, Self

HEADER_BYTES: Final = 256

_MAGIC = b"scalobj1"  # the digit: version of the layout
_FIELDS = struct.Struct("<8sBBxxxxxxQQ64s64s")
_CHECKSUM = struct.Struct("<I")


@dataclass(slots=True)
class Header:
    """What a file says about its object. `version` differs between contents stored under one key."""

    key: bytes
    owner: bytes
    size: int
    version: int

    def pack(self) -> bytes:
        """Return the first bytes of the file."""
        fields = _FIELDS.pack(_MAGIC, len(self.key), len(self.owner), self.size, self.version, self.key, self.owner)
        return (fields + _CHECKSUM.pack(zlib.crc32(fields))).ljust(HEADER_BYTES, b"\0")

    @classmethod
    def unpack(cls, data: bytes) -> Self | None:
        """Read the first bytes of a file; None where they are no committed header."""
        fields = data[: _FIELDS.size]
        if len(data) != HEADER_BYTES or _CHECKSUM.unpack_from(data, _FIELDS.size)[0] != zlib.crc32(fields):
            return None
        magic, key_length, owner_length, size, version, key, owner = _FIELDS.unpack(fields)
        return cls(key[:key_length], owner[:owner_length], size, version) if magic == _MAGIC else None
