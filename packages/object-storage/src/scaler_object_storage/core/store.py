"""What the server knows: which objects there are and whose, who waits for one, what is being uploaded. No IO.

The files are the truth: a table entry follows what the driver saw of a file (`Seen`, `Gone`), never what a peer claims.
Nothing has to be known of a peer: a request is answered where it came from, and may come again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from scaler_object_storage.core.events import (
    Allocate,
    Commit,
    Discard,
    DoomOwner,
    Effect,
    Event,
    Gone,
    Listed,
    ListFiles,
    Log,
    Look,
    Proceed,
    Received,
    RemoveFiles,
    Reply,
    Report,
    Route,
    Seen,
    SendChunk,
    SendStatistics,
    Then,
    Tick,
    UploadFailed,
    WriteChunk,
)
from scaler_protocol import storage_messages as sm
from scaler_protocol.messages import PRODUCT, PROTOCOL_VERSION

WAIT_SECONDS = 30.0
"""A wait that is not renewed so long is forgotten; connectors renew theirs three times as often."""

UPLOAD_SECONDS = 60.0
"""An upload that gets no bytes so long is given up; a finished one is remembered so long, in case it is asked about."""

MAX_WAITS = 100_000
MAX_UPLOADS = 1000
MAX_UNSEEN = 10_000

MAX_OBJECT_BYTES = 1 << 46
"""More than any machine's memory; beyond that, numbers no longer fit the system's calls."""


@dataclass(slots=True)
class _Stored:
    owner: bytes
    size: int


@dataclass(slots=True)
class _Wait:
    route: Route
    request_id: int
    key: bytes
    wait: bool
    expires: float


@dataclass(slots=True)
class _Upload:
    route: Route  # of whoever asked last
    request_id: int
    key: bytes
    owner: bytes
    size: int
    position: int = 0
    expires: float = 0.0
    is_finished: bool = False


@dataclass(slots=True)
class Greeting:
    """What peers are told about this server."""

    instance_id: bytes
    directory: str
    nonce: bytes


class Store:
    """See the module."""

    def __init__(self, greeting: Greeting) -> None:
        self._greeting = greeting
        self._objects: dict[bytes, _Stored] = {}
        self._keys_of: dict[bytes, set[bytes]] = {}  # owner -> keys
        self._unseen: set[bytes] = set()  # announced, but nobody wanted to know of them yet; most are soon deleted
        self._waits: dict[tuple[Route, int], _Wait] = {}
        self._waits_for: dict[bytes, dict[tuple[Route, int], _Wait]] = {}  # key -> those of _waits
        self._uploads: dict[bytes, _Upload] = {}

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take in one event; the effects are to be carried out in their order."""
        if isinstance(event, Received):
            on_message = _ON_MESSAGE.get(type(event.message))
            return [] if on_message is None else on_message(self, event.route, event.message, now)
        return _ON_EVENT[type(event)](self, event, now)

    def next_wakeup(self) -> float | None:
        """Return when `Tick` is wanted at the latest."""
        # Both tables are kept in the order of their ends: what is renewed moves to the end.
        return min((item.expires for item in (*_first(self._waits), *_first(self._uploads))), default=None)

    def check(self) -> None:
        """Raise `AssertionError` unless the tables are consistent."""
        owned = {key: owner for owner, keys in self._keys_of.items() for key in keys}
        assert owned == {key: stored.owner for key, stored in self._objects.items()}
        assert all(self._keys_of.values())
        waits = {name: wait for waits in self._waits_for.values() for name, wait in waits.items()}
        assert waits == self._waits
        assert all(self._waits_for.values())
        assert all(wait.key == key for key, waits in self._waits_for.items() for wait in waits.values())
        assert all(upload.position <= upload.size for upload in self._uploads.values())

    def describe(self) -> Iterator[str]:
        """Return what the tables hold, a line at a time, for people."""
        unseen = f", and {len(self._unseen)} that nobody has looked at" if self._unseen else ""
        yield f"objects    {len(self._objects)}{unseen}, {sum(stored.size for stored in self._objects.values())} bytes"
        yield f"waits      {len(self._waits)} for {len(self._waits_for)} objects"
        yield f"transfers  {sum(not upload.is_finished for upload in self._uploads.values())} uploads under way"
        for owner, keys in list(self._keys_of.items()):
            size = sum(self._objects[key].size for key in keys)
            yield f"owner {owner.hex()}: {len(keys)} objects, {size} bytes"
        for key, waits in list(self._waits_for.items()):
            yield f"object {key.hex()} is awaited by {len(waits)}"

    # ---- files

    def on_seen(self, event: Seen, now: float) -> list[Effect]:
        header = event.header
        self._forget(header.key)
        self._objects[header.key] = _Stored(header.owner, header.size)
        self._keys_of.setdefault(header.owner, set()).add(header.key)
        waits = list(self._waits_for.get(header.key, {}).values())
        for wait in waits:
            self._drop_wait(wait)
        return [Reply(wait.route, sm.ObjectFound(wait.request_id, header.size, header.version)) for wait in waits]

    def on_gone(self, event: Gone, now: float) -> list[Effect]:
        self._forget(event.key)
        impatient = [wait for wait in self._waits_for.get(event.key, {}).values() if not wait.wait]
        for wait in impatient:
            self._drop_wait(wait)
        return [Reply(wait.route, sm.ObjectMissing(wait.request_id)) for wait in impatient]

    def on_listed(self, event: Listed, now: float) -> list[Effect]:
        found = set(event.keys)
        for key in (self._objects.keys() | self._unseen) - found:
            self._forget(key)
        return [Look(key) for key in found - self._objects.keys()]

    def on_tick(self, event: Tick, now: float) -> list[Effect]:
        while (wait := next(iter(self._waits.values()), None)) is not None and wait.expires <= now:
            self._drop_wait(wait)
        effects: list[Effect] = []
        while (upload_id := next(iter(self._uploads), None)) is not None:
            upload = self._uploads[upload_id]
            if upload.expires > now:
                break
            del self._uploads[upload_id]
            if not upload.is_finished:
                effects.append(Discard(upload_id))
        return effects

    def on_doom_owner(self, event: DoomOwner, now: float) -> list[Effect]:
        keys = list(self._keys_of.get(event.owner, ()))
        for key in keys:
            self._forget(key)
        return [RemoveFiles(keys), Reply(event.route, sm.Done(event.request_id))]

    # ---- requests

    def on_hello(self, route: Route, hello: sm.StorageHello, now: float) -> list[Effect]:
        if (hello.product, hello.protocol_version) != (PRODUCT, PROTOCOL_VERSION):
            reason = (
                f"this object storage speaks version {PROTOCOL_VERSION} of the protocol of {PRODUCT}, "
                f"the peer version {hello.protocol_version} of that of {hello.product[:100]}"
            )
            return [Log(f"refused {hello.name[:100]!r}: {reason}"), Reply(route, sm.StorageRefused(reason))]
        greeting = self._greeting
        return [Reply(route, sm.StorageWelcome(greeting.instance_id, greeting.directory, greeting.nonce))]

    def on_announce(self, route: Route, request: sm.AnnounceObjects, now: float) -> list[Effect]:
        for key in self._objects.keys() & request.keys:
            self._forget(key)  # replaced
        self._unseen.update(request.keys)
        wanted = self._waits_for.keys() & request.keys if self._waits_for else ()
        looks = self._look_at_unseen() if len(self._unseen) > MAX_UNSEEN else map(Look, wanted)
        return [*looks, Reply(route, sm.Done(request.request_id))]

    def on_delete(self, route: Route, request: sm.DeleteObjects, now: float) -> list[Effect]:
        for key in request.keys:
            self._forget(key)
        return [RemoveFiles(request.keys), Reply(route, sm.Done(request.request_id))]

    def on_delete_owner(self, route: Route, request: sm.DeleteOwner, now: float) -> list[Effect]:
        # A writer may have died between committing a file and announcing it.
        return [ListFiles(), Then(DoomOwner(request.owner, route, request.request_id))]

    def on_await(self, route: Route, request: sm.AwaitObject, now: float) -> list[Effect]:
        name = (route, request.request_id)
        known = self._waits.get(name)
        if known is not None:
            self._drop_wait(known)
        if len(self._waits) >= MAX_WAITS:
            return []  # the peer asks again
        wait = _Wait(route, request.request_id, request.key, request.wait, now + WAIT_SECONDS)
        self._waits[name] = wait
        self._waits_for.setdefault(request.key, {})[name] = wait
        return [Look(request.key)]

    def on_cancel_await(self, route: Route, request: sm.CancelAwait, now: float) -> list[Effect]:
        wait = self._waits.get((route, request.request_id))
        if wait is not None:
            self._drop_wait(wait)
        return []

    def on_read_chunk(self, route: Route, request: sm.ReadChunk, now: float) -> list[Effect]:
        if not 0 < request.length <= sm.CHUNK_BYTES or request.offset > MAX_OBJECT_BYTES:
            return [Reply(route, sm.StorageFailed(request.request_id, f"a chunk of {request.length} bytes"))]
        return [SendChunk(route, request)]

    def on_ask_statistics(self, route: Route, request: sm.AskStatistics, now: float) -> list[Effect]:
        return [*self._look_at_unseen(), Then(Report(route, request.request_id))]

    def on_report(self, event: Report, now: float) -> list[Effect]:
        shares = [
            sm.OwnerShare(owner, len(keys), sum(self._objects[key].size for key in keys))
            for owner, keys in self._keys_of.items()
        ]
        uploads = sum(not upload.is_finished for upload in self._uploads.values())
        figures = sm.Statistics(event.request_id, len(self._waits), uploads, 0, 0, shares)
        return [SendStatistics(event.route, figures)]

    # ---- uploads

    def on_begin_upload(self, route: Route, request: sm.BeginUpload, now: float) -> list[Effect]:
        upload = self._uploads.get(request.upload_id)
        if upload is not None:
            return self._touch(request.upload_id, upload, route, request.request_id, now)
        if request.size > MAX_OBJECT_BYTES:
            return [Reply(route, sm.StorageFailed(request.request_id, f"an object of {request.size} bytes"))]
        if len(self._uploads) >= MAX_UPLOADS:
            return [Reply(route, sm.StorageFailed(request.request_id, f"{MAX_UPLOADS} uploads are under way already"))]
        upload = _Upload(route, request.request_id, request.key, request.owner, request.size)
        return [
            Allocate(request.upload_id, request.size),
            *self._touch(request.upload_id, upload, route, request.request_id, now),
        ]

    def on_upload_chunk(self, route: Route, request: sm.UploadChunk, now: float) -> list[Effect]:
        upload = self._uploads.get(request.upload_id)
        if upload is None:
            return [Reply(route, sm.UploadUnknown(request.request_id))]
        proceed = self._touch(request.upload_id, upload, route, request.request_id, now)
        length = len(request.payload)
        if request.offset != upload.position or not 0 < length <= min(sm.CHUNK_BYTES, upload.size - upload.position):
            return proceed  # the answer says what would have been right
        upload.position += length
        return [WriteChunk(request.upload_id, request.offset, request.payload), *proceed]

    def on_abandon_upload(self, route: Route, request: sm.AbandonUpload, now: float) -> list[Effect]:
        upload = self._uploads.pop(request.upload_id, None)
        return [] if upload is None or upload.is_finished else [Discard(request.upload_id)]

    def on_proceed(self, event: Proceed, now: float) -> list[Effect]:
        upload = self._uploads.get(event.upload_id)
        if upload is None:
            return []
        if upload.position == upload.size and not upload.is_finished:
            upload.is_finished = True
            return [Commit(event.upload_id, upload.key, upload.owner), Then(event)]
        return [Reply(upload.route, sm.UploadAt(upload.request_id, upload.position))]

    def on_upload_failed(self, event: UploadFailed, now: float) -> list[Effect]:
        upload = self._uploads.pop(event.upload_id, None)
        if upload is None:
            return []
        failure = replace(event.failure, request_id=upload.request_id)
        return [Discard(event.upload_id), Reply(upload.route, failure)]

    def _touch(self, upload_id: bytes, upload: _Upload, route: Route, request_id: int, now: float) -> list[Effect]:
        """Note who asks, at the end of the queue of those that expire; then say how far it is."""
        upload.route, upload.request_id, upload.expires = route, request_id, now + UPLOAD_SECONDS
        self._uploads.pop(upload_id, None)
        self._uploads[upload_id] = upload
        return [Then(Proceed(upload_id))]

    # ---- tables

    def _look_at_unseen(self) -> list[Effect]:
        keys, self._unseen = self._unseen, set()
        return list(map(Look, keys))

    def _forget(self, key: bytes) -> None:
        self._unseen.discard(key)
        stored = self._objects.pop(key, None)
        if stored is not None:
            keys = self._keys_of[stored.owner]
            keys.remove(key)
            if not keys:
                del self._keys_of[stored.owner]

    def _drop_wait(self, wait: _Wait) -> None:
        name = (wait.route, wait.request_id)
        del self._waits[name]
        waits = self._waits_for[wait.key]
        del waits[name]
        if not waits:
            del self._waits_for[wait.key]


_ON_EVENT: dict[type[Any], Callable[[Store, Any, float], list[Effect]]] = {
    Seen: Store.on_seen,
    Gone: Store.on_gone,
    Listed: Store.on_listed,
    DoomOwner: Store.on_doom_owner,
    Report: Store.on_report,
    Proceed: Store.on_proceed,
    UploadFailed: Store.on_upload_failed,
    Tick: Store.on_tick,
}

_ON_MESSAGE: dict[type[Any], Callable[[Store, Route, Any, float], list[Effect]]] = {
    sm.StorageHello: Store.on_hello,
    sm.AnnounceObjects: Store.on_announce,
    sm.DeleteObjects: Store.on_delete,
    sm.DeleteOwner: Store.on_delete_owner,
    sm.AwaitObject: Store.on_await,
    sm.CancelAwait: Store.on_cancel_await,
    sm.ReadChunk: Store.on_read_chunk,
    sm.AskStatistics: Store.on_ask_statistics,
    sm.BeginUpload: Store.on_begin_upload,
    sm.UploadChunk: Store.on_upload_chunk,
    sm.AbandonUpload: Store.on_abandon_upload,
}


def _first(table: dict[Any, Any]) -> list[Any]:
    return [] if not table else [next(iter(table.values()))]
