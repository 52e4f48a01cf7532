"""A connector's side of the conversation: what was asked and not answered yet, and the transfers under way. No IO.

Everything asked is kept until it is answered, and asked again after every reconnect. What somebody waits for ends in a
`Settled`; announcements and deletions have nobody waiting and no deadline.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from scaler_object_storage.core.transfers import Download, Upload
from scaler_object_storage.errors import (
    ObjectNotFound,
    ObjectStorageClosed,
    ObjectStorageError,
    ObjectStorageFull,
    ObjectStorageRefused,
    ObjectStorageUnreachable,
)
from scaler_object_storage.values import Parts
from scaler_protocol import storage_messages as sm
from scaler_protocol.messages import PRODUCT, PROTOCOL_VERSION

RENEWAL_SECONDS = 10.0
"""A third of what the server waits before it forgets a wait."""

MAX_TRANSFERS = 4
"""Objects that travel at the same time; with the window of each, this bounds what is on its way."""

MAX_KEYS = 10_000
"""In one message."""


@dataclass(slots=True)
class Found:
    """The object exists in the directory that is shared with the server."""


Outcome = memoryview | Found | sm.Statistics | None | ObjectStorageError
OnDone = Callable[[Outcome], None]


@dataclass(slots=True, eq=False)
class Ask:
    """Something that somebody waits for until `deadline`, which moves with progress by `patience_seconds`."""

    on_done: OnDone
    patience_seconds: float
    deadline: float = math.inf


@dataclass(slots=True, eq=False)
class Ready(Ask):
    """That the server has answered."""


@dataclass(slots=True, eq=False)
class Fetch(Ask):
    """The bytes of an object."""

    key: bytes = b""
    wait: bool = True
    streams: bool = False
    """Whether the bytes are to be sent, also on the server's machine."""
    request_id: int = 0
    download: Download | None = None


@dataclass(slots=True, eq=False)
class Put(Ask):
    """That an object is stored by the server."""

    key: bytes = b""
    owner: bytes = b""
    parts: Parts = field(default_factory=Parts.of)
    upload: Upload | None = None


@dataclass(slots=True, eq=False)
class Count(Ask):
    """What the server holds."""

    request_id: int = 0


@dataclass(slots=True)
class Settled:
    """Tell whoever asked."""

    ask: Ask
    outcome: Outcome


class Requests:
    """See the module. `outgoing` is what the driver shall send, in order; it is emptied when the connection is lost."""

    def __init__(self, name: str, address: str, new_id: Callable[[], bytes]) -> None:
        self.outgoing: deque[sm.StorageMessage] = deque()
        self.is_up = False
        """Whether the server has welcomed this connection."""
        self._name = name
        self._address = address
        self._new_id = new_id
        self._is_shared = False
        self._refusal: ObjectStorageError | None = None
        self._last_id = 0
        self._asks: dict[Ask, None] = {}
        self._orders: dict[int, sm.AnnounceObjects | sm.DeleteObjects | sm.DeleteOwner] = {}
        self._fetches: dict[int, Fetch] = {}  # by the id of their AwaitObject
        self._reads: dict[int, tuple[Fetch, int]] = {}  # id of a ReadChunk -> whose, and its offset
        self._puts: dict[int, Put] = {}  # by the id that their upload uses now
        self._counts: dict[int, Count] = {}
        self._queued: deque[Fetch | Put] = deque()  # transfers that are not under way yet
        self._transfers: dict[Fetch | Put, None] = {}
        self._renew_at = math.inf
        self._check_at = math.inf  # the first deadline, or earlier: deadlines move

    # ---- asked by callers

    def ask(self, ask: Ask, now: float) -> list[Settled]:
        """Take in what somebody waits for."""
        if self._refusal is not None:
            return [Settled(ask, self._refusal)]
        if isinstance(ask, Ready) and self.is_up:
            return [Settled(ask, None)]
        self._asks[ask] = None
        ask.deadline = now + ask.patience_seconds
        self._check_at = min(self._check_at, ask.deadline)
        if isinstance(ask, Fetch):
            self._await(ask, now)
        elif isinstance(ask, Put):
            self._queued.append(ask)
            self._start_transfers(now)
        elif isinstance(ask, Count):
            ask.request_id = self._mint()
            self._counts[ask.request_id] = ask
            self._send(sm.AskStatistics(ask.request_id))
        return []

    def cancel(self, ask: Ask, now: float) -> None:
        """Forget it; nothing is told."""
        if ask in self._asks:
            self._end(ask)
            self._start_transfers(now)

    def announce(self, keys: list[bytes]) -> None:
        """Tell the server of files that were committed."""
        last = next(reversed(self._orders.values()), None)
        if not self.is_up and isinstance(last, sm.AnnounceObjects) and len(last.keys) + len(keys) <= MAX_KEYS:
            last.keys += keys
            return
        for some in _groups(keys):
            self._order(sm.AnnounceObjects(self._mint(), some))

    def delete(self, keys: list[bytes]) -> None:
        """Have objects deleted."""
        for some in _groups(keys):
            self._order(sm.DeleteObjects(self._mint(), some))

    def delete_owner(self, owner: bytes) -> None:
        """Have all objects of an owner deleted."""
        self._order(sm.DeleteOwner(self._mint(), owner))

    @property
    def orders(self) -> int:
        """How many announcements and deletions have not been answered."""
        return len(self._orders)

    def repeat_orders(self) -> None:
        """Say again what has not been answered, out of doubt; a reconnect does so in any case."""
        for order in self._orders.values():
            self._send(order)

    @property
    def is_idle(self) -> bool:
        """Whether everything asked has been answered."""
        return not self._asks and not self._orders

    # ---- brought by the connection

    def on_connected(self) -> None:
        self.outgoing.clear()
        self.outgoing.append(sm.StorageHello(PRODUCT, PROTOCOL_VERSION, self._name))

    def on_disconnected(self) -> None:
        self.is_up = False
        self.outgoing.clear()

    def on_welcome(self, is_shared: bool, now: float) -> list[Settled]:
        """Ask everything again. `is_shared`: the server's directory can be used from here."""
        self.is_up = True
        self._is_shared = is_shared
        self.repeat_orders()
        for count in self._counts.values():
            self._send(sm.AskStatistics(count.request_id))
        for fetch in self._fetches.values():
            self._send(sm.AwaitObject(fetch.request_id, fetch.key, fetch.wait))
        for request_id, (fetch, offset) in self._reads.items():
            if fetch.download is not None:
                self._send(fetch.download.read(request_id, fetch.key, offset))
        for put in list(self._puts.values()):
            if put.upload is not None:
                put.upload.on_reconnected()
                self._send(put.upload.begin(put.key, put.owner))
        ready = [ask for ask in self._asks if isinstance(ask, Ready)]
        self._start_transfers(now)
        return [self._settle(ask, None) for ask in ready]

    def on_message(self, message: sm.StorageMessage, now: float) -> list[Settled]:
        """Take in an answer; those to what nobody waits for any more are ignored."""
        on_answer = _ON_ANSWER.get(type(message))
        return [] if on_answer is None else on_answer(self, message, now)

    def on_refused(self, message: sm.StorageRefused, now: float) -> list[Settled]:
        self._refusal = ObjectStorageRefused(f"the object storage at {self._address} refuses: {message.reason[:500]}")
        self._orders.clear()
        return self.fail_all(self._refusal)

    def on_done(self, message: sm.Done, now: float) -> list[Settled]:
        self._orders.pop(message.request_id, None)
        return []

    def on_statistics(self, message: sm.Statistics, now: float) -> list[Settled]:
        count = self._counts.get(message.request_id)
        return [] if count is None else [self._settle(count, message)]

    def on_found(self, message: sm.ObjectFound, now: float) -> list[Settled]:
        fetch = self._fetches.pop(message.request_id, None)
        if fetch is None:
            return []
        if self._is_shared and not fetch.streams:
            return [self._settle(fetch, Found())]
        try:
            fetch.download = Download(message.size, message.version)
        except (OSError, MemoryError, OverflowError, ValueError):
            error = ObjectStorageError(f"no memory for the {message.size} bytes of object {fetch.key.hex()}")
            return [self._settle(fetch, error)]
        if fetch.download.is_complete:
            return [self._settle(fetch, fetch.download.content())]
        self._queued.append(fetch)
        self._start_transfers(now)
        return []

    def on_missing(self, message: sm.ObjectMissing, now: float) -> list[Settled]:
        fetch = self._fetches.get(message.request_id)
        if fetch is not None:
            return [self._settle(fetch, ObjectNotFound(f"there is no object {fetch.key.hex()} at {self._address}"))]
        fetch, _ = self._reads.get(message.request_id, (None, 0))
        if fetch is not None:
            self._restart(fetch, now)
        return []

    def on_chunk(self, message: sm.ObjectChunk, now: float) -> list[Settled]:
        fetch, offset = self._reads.pop(message.request_id, (None, 0))
        if fetch is None or fetch.download is None:
            return []
        if not fetch.download.accept(offset, message.payload):
            self._restart(fetch, now)
            return []
        fetch.deadline = now + fetch.patience_seconds
        if not fetch.download.is_complete:
            self._read_on(fetch)
            return []
        settled = self._settle(fetch, fetch.download.content())
        self._start_transfers(now)
        return [settled]

    def on_upload_at(self, message: sm.UploadAt, now: float) -> list[Settled]:
        put = self._puts.get(message.request_id)
        if put is None or put.upload is None:
            return []
        if put.upload.on_position(message.position):
            put.deadline = now + put.patience_seconds
        if not put.upload.is_complete:
            self._write_on(put)
            return []
        settled = self._settle(put, None)
        self._start_transfers(now)
        return [settled]

    def on_upload_unknown(self, message: sm.UploadUnknown, now: float) -> list[Settled]:
        put = self._puts.pop(message.request_id, None)
        if put is not None:
            self._begin(put)
        return []

    def on_failed(self, message: sm.StorageFailed, now: float) -> list[Settled]:
        fetch, _ = self._reads.get(message.request_id, (None, 0))
        ask = self._puts.get(message.request_id) or fetch
        if ask is None:
            return []
        error = ObjectStorageError(f"the object storage at {self._address}: {message.reason[:500]}")
        if message.directory:
            error = ObjectStorageFull(message.directory, message.needed_bytes, message.free_bytes)
        settled = self._settle(ask, error)
        self._start_transfers(now)
        return [settled]

    # ---- time

    def next_wakeup(self) -> float | None:
        """Return when `on_time` is wanted at the latest."""
        due = min(self._check_at, self._renew_at if self._fetches else math.inf)
        return None if due == math.inf else due

    def on_time(self, now: float) -> list[Settled]:
        """Give up what has taken too long, and renew waits."""
        settled: list[Settled] = []
        if now >= self._check_at:
            settled = [self._settle(ask, self._too_late(ask)) for ask in list(self._asks) if ask.deadline <= now]
            self._check_at = min((ask.deadline for ask in self._asks), default=math.inf)
            self._start_transfers(now)
        if self._fetches and now >= self._renew_at:
            self._renew_at = now + RENEWAL_SECONDS
            for fetch in self._fetches.values():
                self._send(sm.AwaitObject(fetch.request_id, fetch.key, fetch.wait))
        return settled

    def fail_all(self, error: ObjectStorageError | None = None) -> list[Settled]:
        """End everything that somebody waits for."""
        error = ObjectStorageClosed("the connection to the object storage was closed") if error is None else error
        return [self._settle(ask, error) for ask in list(self._asks)]

    # ---- inside

    def _await(self, fetch: Fetch, now: float) -> None:
        fetch.request_id = self._mint()
        if not self._fetches:
            self._renew_at = now + RENEWAL_SECONDS
        self._fetches[fetch.request_id] = fetch
        self._send(sm.AwaitObject(fetch.request_id, fetch.key, fetch.wait))

    def _restart(self, fetch: Fetch, now: float) -> None:
        """The object was deleted or replaced while it was read."""
        self._end_transfer(fetch)
        self._await(fetch, now)
        self._start_transfers(now)

    def _start_transfers(self, now: float) -> None:
        while self._queued and len(self._transfers) < MAX_TRANSFERS:
            ask = self._queued.popleft()
            self._transfers[ask] = None
            if isinstance(ask, Put):
                self._begin(ask)
            else:
                self._read_on(ask)

    def _begin(self, put: Put) -> None:
        put.upload = Upload(self._mint(), self._new_id(), put.parts)
        self._puts[put.upload.request_id] = put
        self._send(put.upload.begin(put.key, put.owner))

    def _write_on(self, put: Put) -> None:
        if put.upload is not None and self.is_up:
            self.outgoing += put.upload.chunks()

    def _read_on(self, fetch: Fetch) -> None:
        download = fetch.download
        if download is None:
            return
        for offset in download.offsets_to_read():
            request_id = self._mint()
            self._reads[request_id] = (fetch, offset)
            self._send(download.read(request_id, fetch.key, offset))

    def _settle(self, ask: Ask, outcome: Outcome) -> Settled:
        self._end(ask)
        return Settled(ask, outcome)

    def _end(self, ask: Ask) -> None:
        del self._asks[ask]
        if isinstance(ask, Fetch):
            if self._fetches.pop(ask.request_id, None) is not None and ask.wait:
                self._send(sm.CancelAwait(ask.request_id))
            self._end_transfer(ask)
        elif isinstance(ask, Put):
            self._end_transfer(ask)
        elif isinstance(ask, Count):
            self._counts.pop(ask.request_id, None)

    def _end_transfer(self, ask: Fetch | Put) -> None:
        self._transfers.pop(ask, None)
        if ask in self._queued:
            self._queued.remove(ask)
        if isinstance(ask, Put):
            upload, ask.upload = ask.upload, None
            if upload is not None:
                self._puts.pop(upload.request_id, None)
                if not upload.is_complete:
                    self._send(sm.AbandonUpload(upload.upload_id))
        elif ask.download is not None:
            ask.download = None
            for request_id in [request_id for request_id, (fetch, _) in self._reads.items() if fetch is ask]:
                del self._reads[request_id]

    def _order(self, order: sm.AnnounceObjects | sm.DeleteObjects | sm.DeleteOwner) -> None:
        if self._refusal is None:
            self._orders[order.request_id] = order
            self._send(order)

    def _send(self, message: sm.StorageMessage) -> None:
        if self.is_up:
            self.outgoing.append(message)

    def _mint(self) -> int:
        self._last_id += 1
        return self._last_id

    def _too_late(self, ask: Ask) -> ObjectStorageError:
        if self.is_up and isinstance(ask, Fetch) and ask.download is None:
            text = f"object {ask.key.hex()} was not stored at {self._address} within {ask.patience_seconds:g} seconds"
            return ObjectNotFound(text)
        return ObjectStorageUnreachable(
            f"the object storage at {self._address} has not answered for {ask.patience_seconds:g} seconds"
        )


_ON_ANSWER: dict[type[Any], Callable[[Requests, Any, float], list[Settled]]] = {
    sm.StorageRefused: Requests.on_refused,
    sm.Done: Requests.on_done,
    sm.Statistics: Requests.on_statistics,
    sm.ObjectFound: Requests.on_found,
    sm.ObjectMissing: Requests.on_missing,
    sm.ObjectChunk: Requests.on_chunk,
    sm.UploadAt: Requests.on_upload_at,
    sm.UploadUnknown: Requests.on_upload_unknown,
    sm.StorageFailed: Requests.on_failed,
}


def _groups(keys: Iterable[bytes]) -> Iterator[list[bytes]]:
    rest = list(keys)
    for start in range(0, len(rest), MAX_KEYS):
        yield rest[start : start + MAX_KEYS]
