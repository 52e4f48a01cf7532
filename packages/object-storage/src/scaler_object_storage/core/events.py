"""What happens to the server's store, and what it wants done about it."""

from dataclasses import dataclass

from scaler_object_storage.header import Header
from scaler_protocol import storage_messages as sm

Route = bytes
"""A connection, as the ROUTER socket names it."""


# ---- events


@dataclass(slots=True)
class Received:
    """A message of a peer."""

    route: Route
    message: sm.StorageMessage


@dataclass(slots=True)
class Seen:
    """A committed file, as it was found just now."""

    header: Header


@dataclass(slots=True)
class Gone:
    """There is no committed file for this key just now."""

    key: bytes


@dataclass(slots=True)
class Listed:
    """The keys of all committed files."""

    keys: list[bytes]


@dataclass(slots=True)
class UploadFailed:
    """There was no place for an upload, or it could not be written; `failure` is the answer, but for its request id."""

    upload_id: bytes
    failure: sm.StorageFailed


@dataclass(slots=True)
class DoomOwner:
    """All files are known now: delete those of this owner, and say so."""

    owner: bytes
    route: Route
    request_id: int


@dataclass(slots=True)
class Report:
    """All files are known now: say what there is."""

    route: Route
    request_id: int


@dataclass(slots=True)
class Proceed:
    """What an upload needed was done: go on with it, and say how far it is. Nothing happens if it failed."""

    upload_id: bytes


@dataclass(slots=True)
class Tick:
    """Time has passed."""


Event = Received | Seen | Gone | Listed | DoomOwner | Report | UploadFailed | Proceed | Tick


# ---- effects: each is carried out, and the events that come of it handled, before the next


@dataclass(slots=True)
class Reply:
    """Send an answer. It may be lost: who asked asks again."""

    route: Route
    message: sm.StorageMessage


@dataclass(slots=True)
class Log:
    """Write one line, a warning."""

    text: str


@dataclass(slots=True)
class Look:
    """Find out what the file of this key says: `Seen` or `Gone`."""

    key: bytes


@dataclass(slots=True)
class ListFiles:
    """Find out which files there are: `Listed`."""


@dataclass(slots=True)
class RemoveFiles:
    """Remove these files where they exist."""

    keys: list[bytes]


@dataclass(slots=True)
class SendChunk:
    """Answer with bytes of a file, or that it is missing."""

    route: Route
    request: sm.ReadChunk


@dataclass(slots=True)
class SendStatistics:
    """Answer with these figures and those that only the driver has."""

    route: Route
    statistics: sm.Statistics


@dataclass(slots=True)
class Allocate:
    """Make place for an upload. `UploadFailed` if there is none."""

    upload_id: bytes
    size: int


@dataclass(slots=True)
class WriteChunk:
    """Write bytes of an upload. `UploadFailed` if that fails."""

    upload_id: bytes
    offset: int
    payload: bytes | memoryview


@dataclass(slots=True)
class Commit:
    """Make an upload an object: `Seen`, or `UploadFailed`."""

    upload_id: bytes
    key: bytes
    owner: bytes


@dataclass(slots=True)
class Discard:
    """Give the memory of an upload back."""

    upload_id: bytes


@dataclass(slots=True)
class Then:
    """Handle this event, after everything that the effects before it brought."""

    event: Event


Effect = (
    Reply
    | Log
    | Then
    | Look
    | ListFiles
    | RemoveFiles
    | SendChunk
    | SendStatistics
    | Allocate
    | WriteChunk
    | Commit
    | Discard
)
