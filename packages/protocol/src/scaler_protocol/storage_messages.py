"""Every message between the object storage and its peers, as plain records; fields are explained in
schema/object_storage.capnp. A request can be repeated, after a reconnect or out of doubt: that changes nothing.

A record with a `payload` owns one frame behind the packet.
"""

from dataclasses import dataclass
from typing import Final

MAX_NAME_BYTES: Final = 64
"""Keys and owners have 1 to so many bytes."""

CHUNK_BYTES: Final = 1 << 20
"""Most bytes of an object in one message."""


# ---- who is there


@dataclass(slots=True)
class StorageHello:
    """The first message of a connection."""

    product: str
    protocol_version: int
    name: str


@dataclass(slots=True)
class StorageWelcome:
    """The answer: where the objects lie, and how to find out whether that is reachable without the network."""

    instance_id: bytes
    directory: str
    nonce: bytes


@dataclass(slots=True)
class StorageRefused:
    """The storage will not serve this peer; one line says why."""

    reason: str


# ---- objects on the storage's own machine: written and read as files, only named here


@dataclass(slots=True)
class AnnounceObjects:
    """Files that were committed: who waits for them shall know. Answered by `Done`."""

    request_id: int
    keys: list[bytes]


@dataclass(slots=True)
class DeleteObjects:
    """Nobody needs these objects any more, known or not. Answered by `Done`."""

    request_id: int
    keys: list[bytes]


@dataclass(slots=True)
class DeleteOwner:
    """Delete every object of this owner. Answered by `Done`."""

    request_id: int
    owner: bytes


@dataclass(slots=True)
class Done:
    """The request was carried out."""

    request_id: int


@dataclass(slots=True)
class AwaitObject:
    """Say when the object exists: `ObjectFound`, or `ObjectMissing` where the peer does not want to wait.

    Repeated every few seconds while the peer waits; a wait that is not renewed is forgotten.
    """

    request_id: int
    key: bytes
    wait: bool


@dataclass(slots=True)
class CancelAwait:
    """The peer no longer waits. Not answered."""

    request_id: int


@dataclass(slots=True)
class ObjectFound:
    """The object exists."""

    request_id: int
    size: int
    version: int


@dataclass(slots=True)
class ObjectMissing:
    """The object does not exist, or no longer with this content."""

    request_id: int


# ---- objects for other machines: streamed


@dataclass(slots=True)
class ReadChunk:
    """Send these bytes of this version. Answered by `ObjectChunk` or `ObjectMissing`; the peer asks for few at once."""

    request_id: int
    key: bytes
    version: int
    offset: int
    length: int


@dataclass(slots=True)
class ObjectChunk:
    """The bytes asked for, fewer only where the object ends."""

    request_id: int
    payload: bytes


@dataclass(slots=True)
class BeginUpload:
    """Make place for an object, or say how far it has come. Answered by `UploadAt` or `StorageFailed`."""

    request_id: int
    upload_id: bytes
    key: bytes
    owner: bytes
    size: int


@dataclass(slots=True)
class UploadChunk:
    """The next bytes of an upload. Answered by `UploadAt`, `UploadUnknown` or `StorageFailed`."""

    request_id: int
    upload_id: bytes
    offset: int
    payload: bytes | memoryview


@dataclass(slots=True)
class UploadAt:
    """How far an upload has come; at its end the object is stored."""

    request_id: int
    position: int


@dataclass(slots=True)
class UploadUnknown:
    """The storage knows nothing of this upload (any more): begin again under another id."""

    request_id: int


@dataclass(slots=True)
class AbandonUpload:
    """The rest of the upload will not come. Not answered."""

    upload_id: bytes


@dataclass(slots=True)
class StorageFailed:
    """The request cannot be carried out; with a `directory`, because the memory under it is full."""

    request_id: int
    reason: str
    directory: str = ""
    needed_bytes: int = 0
    free_bytes: int = 0


# ---- what is there


@dataclass(slots=True)
class AskStatistics:
    """Answered by `Statistics`."""

    request_id: int


@dataclass(slots=True)
class OwnerShare:
    """What one owner keeps in the storage."""

    owner: bytes
    objects: int
    size: int


@dataclass(slots=True)
class Statistics:
    """What the storage holds, and what it is doing."""

    request_id: int
    waiting: int
    uploads: int
    dropped: int
    free_bytes: int
    owners: list[OwnerShare]

    @property
    def objects(self) -> int:
        """How many objects there are."""
        return sum(share.objects for share in self.owners)

    @property
    def size(self) -> int:
        """How many bytes they have together."""
        return sum(share.size for share in self.owners)


StorageMessage = (
    StorageHello
    | StorageWelcome
    | StorageRefused
    | AnnounceObjects
    | DeleteObjects
    | DeleteOwner
    | Done
    | AwaitObject
    | CancelAwait
    | ObjectFound
    | ObjectMissing
    | ReadChunk
    | ObjectChunk
    | BeginUpload
    | UploadChunk
    | UploadAt
    | UploadUnknown
    | AbandonUpload
    | StorageFailed
    | AskStatistics
    | Statistics
)


@dataclass(slots=True)
class StoragePacket:
    """What one ZeroMQ message to or from the object storage holds."""

    messages: list[StorageMessage]
