"""The driver of the object storage: a ROUTER socket, the files of one directory, and the store that decides.

On asyncio, but not on zmq.asyncio, like `scaler_runtime.server`. An exception never ends it: the event is dropped,
counted and logged.
"""

import asyncio
import errno
import logging
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import zmq

from scaler_object_storage.core import events as e
from scaler_object_storage.core.store import Greeting, Store
from scaler_object_storage.directory import SHARED_MEMORY, Directory
from scaler_object_storage.disk import Disk
from scaler_object_storage.errors import DirectoryError, ObjectStorageError, ObjectStorageFull
from scaler_object_storage.held_files import HeldFiles
from scaler_object_storage.limits import Limits
from scaler_object_storage.mover import Mover
from scaler_object_storage.object_file import PartFile, read_chunk, read_header, recycle
from scaler_object_storage.outbox import Outbox
from scaler_protocol import codec
from scaler_protocol import storage_messages as sm
from scaler_protocol.addresses import Address
from scaler_protocol.errors import ProtocolError
from scaler_protocol.identifiers import new_id
from scaler_runtime.throttle import Throttle
from scaler_runtime.transport import RouterSocket

SWEEP_SECONDS = 10.0
"""How often the files are compared with the table, and what dead writers left is collected."""

MESSAGES_PER_TURN = 64
HIGH_WATER_MARK = 64
MAX_FRAME_BYTES = 2 * sm.CHUNK_BYTES
"""With the high-water mark, this bounds what a peer can make the server hold that it has not looked at."""

_RETRY_SECONDS = 0.01
_SHOWN_BYTES = 8  # of a route, which a stranger can make long
_LINGER_MS = 1000
_NO_DISK = Limits()
_log = logging.getLogger(__name__)


class ObjectStorageServer:
    """Serves from its construction in a running loop's thread until `run` is stopped."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        address: Address,
        root: Path = SHARED_MEMORY,
        clock: Callable[[], float] = time.monotonic,
        limits: Limits = _NO_DISK,
    ) -> None:
        """Bind, and take over what lies in the directory. Raises `BindError` and `DirectoryError`."""
        self._socket = RouterSocket(context, address, high_water_mark=HIGH_WATER_MARK, max_frame_bytes=MAX_FRAME_BYTES)
        self.address = self._socket.address
        self.dropped = 0
        """Malformed messages and events whose handling failed, since the start."""
        self._root = root
        self._clock = clock
        try:
            self._directory = Directory(self.address, root)
        except DirectoryError:
            self._socket.close()
            raise
        self._disk = Disk(self.address, self._directory, limits)
        self._mover = Mover(self._disk)
        self._held = HeldFiles(self._directory.folder)
        self._greeting = Greeting(new_id(), self._directory.name, self._directory.nonce)
        self._store = Store(self._greeting)
        self._outbox = Outbox(self._socket.send)
        self._parts: dict[bytes, PartFile] = {}
        self._throttle = Throttle()
        self._timer: asyncio.TimerHandle | None = None
        self._sweep_at = clock()
        self._stopped = asyncio.Event()
        self._carry_out: dict[type[Any], Callable[[Any, float], None]] = {
            e.Reply: self._reply,
            e.Log: self._log_warning,
            e.Then: self._then,
            e.Look: self._look,
            e.ListFiles: self._list_files,
            e.RemoveFiles: self._remove_files,
            e.SendChunk: self._send_chunk,
            e.SendStatistics: self._send_statistics,
            e.Allocate: self._allocate,
            e.WriteChunk: self._write_chunk,
            e.Commit: self._commit,
            e.Discard: self._discard,
        }

    @property
    def directory(self) -> Path:
        """Where the objects lie."""
        return self._directory.path

    def describe(self) -> Iterable[str]:
        """Return where it stands, a line at a time, for people."""
        yield f"address    {self.address}, instance {self._greeting.instance_id.hex()}"
        yield f"directory  {self._directory.path}, {self._directory.folder.free_bytes() >> 20} MiB free"
        yield f"on disk    {self._disk}"
        yield f"dropped    {self.dropped} messages and events"
        yield f"uploads    {len(self._parts)} parts of files are open"
        yield f"unsent     {self._outbox}"
        yield from self._store.describe()

    async def run(self) -> None:
        """Serve until stopped; `close` has to follow."""
        loop = asyncio.get_running_loop()
        descriptors = self._socket.filenos()
        for descriptor in descriptors:
            loop.add_reader(descriptor, self._turn)
        self._turn()
        try:
            await self._stopped.wait()
        finally:
            for descriptor in descriptors:
                loop.remove_reader(descriptor)
            if self._timer is not None:
                self._timer.cancel()
            await self._mover.stop()

    def stop(self) -> None:
        """End `run`."""
        self._stopped.set()

    def close(self, *, keep_objects: bool) -> None:
        """Close the socket, and remove all objects or leave them to the next server at this address."""
        for part in self._parts.values():
            part.discard()
        self._outbox.flush()
        self._socket.close(_LINGER_MS)
        self._disk.close(keep_objects=keep_objects)
        del self._held  # it has the directory open
        if keep_objects:
            self._directory.release()
        else:
            self._directory.remove()

    def _turn(self) -> None:
        if self._stopped.is_set():
            return
        now = self._clock()
        self._socket.lost_connections()  # what concerns a lost peer expires; this only empties the descriptor
        for line in self._socket.watch(now):
            if self._throttle.allows("gate", now):
                _log.warning("%s", line)
        for _ in range(MESSAGES_PER_TURN):
            received = self._socket.receive(_is_known)
            if received is None:
                break
            self._receive(received[0], received[1], now)
        self._handle(e.Tick(), now)
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            self._sweep(now)
        self._held.look(now)
        self._mover.look(now)
        self._outbox.flush()
        self._schedule(now)

    def _schedule(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        if self._socket.has_input():
            self._timer = loop.call_later(0, self._turn)
            return
        wakeups = [
            self._store.next_wakeup(),
            self._sweep_at,
            self._socket.watch_at,
            self._held.next_wakeup(),
            self._mover.next_wakeup(),
            now + _RETRY_SECONDS if self._outbox else None,
        ]
        due = min(at for at in wakeups if at is not None)
        self._timer = loop.call_later(max(0.0, due - now), self._turn)

    def _receive(self, route: bytes, frames: list[bytes], now: float) -> None:
        try:
            packet = codec.decode_storage(frames)
        except ProtocolError as error:
            self.dropped += 1
            if self._throttle.allows("malformed", now):  # one for all: routes can be made up
                _log.warning("dropped from peer %s: malformed message: %s", route[:_SHOWN_BYTES].hex(), error)
            return
        for message in packet.messages:
            if isinstance(message, sm.AnnounceObjects):
                self._mover.note_stored()
            self._handle(e.Received(route, message), now)

    def _handle(self, event: e.Event, now: float) -> None:
        try:
            for effect in self._store.handle(event, now):
                self._carry_out[type(effect)](effect, now)
            if sys.flags.dev_mode:
                self._store.check()
        except Exception:  # noqa: BLE001 - whatever it is, the others are served
            self.dropped += 1
            if self._throttle.allows("handler", now):
                _log.exception("dropped an event that could not be handled: %.500r", event)

    def _sweep(self, now: float) -> None:
        try:
            self._directory.touch()
        except FileNotFoundError:
            self._start_over()
        except OSError as error:
            _log.warning("cannot touch %s: %s", self._directory.path, error.strerror)
        with suppress(OSError):
            found = self._directory.collect_parts(time.time())
            if found:
                _log.info("removed %d unfinished objects whose writers are gone", found)
            self._directory.folder.free_files.remove_old()
            if not self._mover.is_moving:
                self._disk.tidy(time.time())
        self._mover.note_stored()
        self._list_files(e.ListFiles(), now)

    def _start_over(self) -> None:
        """Somebody removed the directory (systemd does, with RemoveIPC, when a user has logged out)."""
        lost = self._directory
        _log.error("%s was removed by somebody else: the objects in it are lost", lost.path)
        try:
            self._directory = Directory(self.address, self._root)
        except DirectoryError as error:
            _log.error("%s", error)  # the next sweep tries again
            return
        lost.release()
        self._disk.memory = self._directory
        self._held = HeldFiles(self._directory.folder)
        self._greeting.nonce = self._directory.nonce

    # ---- effects

    def _reply(self, effect: e.Reply, now: float) -> None:
        self._send(effect.route, effect.message, now)

    def _log_warning(self, effect: e.Log, now: float) -> None:
        if self._throttle.allows("log", now):
            _log.warning("%s", effect.text)

    def _then(self, effect: e.Then, now: float) -> None:
        self._handle(effect.event, now)

    def _look(self, effect: e.Look, now: float) -> None:
        try:
            header = read_header(self._directory.folder, effect.key)
        except OSError as error:
            if self._throttle.allows("look", now):
                _log.error("cannot read the files in %s: %s", self._directory.path, error.strerror)
            return
        self._handle(e.Gone(effect.key) if header is None else e.Seen(header), now)

    def _list_files(self, effect: e.ListFiles, now: float) -> None:
        try:
            keys = self._directory.keys()
        except OSError as error:
            _log.warning("cannot list the files in %s: %s", self._directory.path, error.strerror)
            return
        self._handle(e.Listed(keys), now)

    def _remove_files(self, effect: e.RemoveFiles, now: float) -> None:
        for key in effect.keys:
            held = recycle(self._directory.folder, key)
            if held is not None:
                self._held.add(held, now)
            self._disk.remove(key)

    def _send_chunk(self, effect: e.SendChunk, now: float) -> None:
        request = effect.request
        answer: sm.StorageMessage
        try:
            chunk = read_chunk(self._directory.folder, request.key, request.version, request.offset, request.length)
        except OSError as error:
            answer = sm.StorageFailed(request.request_id, f"cannot read the object: {error.strerror}")
        else:
            if chunk is None:
                answer = sm.ObjectMissing(request.request_id)
            else:
                answer = sm.ObjectChunk(request.request_id, chunk)
        self._send(effect.route, answer, now)

    def _send_statistics(self, effect: e.SendStatistics, now: float) -> None:
        free = self._directory.folder.free_bytes()
        self._send(effect.route, replace(effect.statistics, dropped=self.dropped, free_bytes=free), now)

    def _allocate(self, effect: e.Allocate, now: float) -> None:
        try:
            self._parts[effect.upload_id] = self._make_part(effect.size)
        except (OSError, ObjectStorageError) as error:
            self._fail(effect.upload_id, error, now)

    def _make_part(self, size: int) -> PartFile:
        """Make place in memory, or else on the disk."""
        try:
            return PartFile(self._directory.folder, size)
        except ObjectStorageFull as full:
            try:
                disk = self._disk.open()
                if disk is not None:
                    return PartFile(disk.folder, size)
            except DirectoryError as error:
                _log.error("%s", str(error))
            except ObjectStorageFull as also:
                where = f"{full.directory} and {also.directory}"
                raise ObjectStorageFull(where, full.needed_bytes, max(full.free_bytes, also.free_bytes)) from None
            raise

    def _write_chunk(self, effect: e.WriteChunk, now: float) -> None:
        try:
            self._parts[effect.upload_id].write(effect.offset, [effect.payload])
        except OSError as error:
            self._fail(effect.upload_id, error, now)

    def _commit(self, effect: e.Commit, now: float) -> None:
        part = self._parts.pop(effect.upload_id)
        try:
            header = part.commit(effect.key, effect.owner)
            if part.folder is not self._directory.folder:
                self._disk.link(effect.key)
        except OSError as error:
            self._fail(effect.upload_id, error, now)
        else:
            self._mover.note_stored()
            self._handle(e.Seen(header), now)

    def _discard(self, effect: e.Discard, now: float) -> None:
        part = self._parts.pop(effect.upload_id, None)
        if part is not None:
            part.discard()

    def _fail(self, upload_id: bytes, error: OSError | ObjectStorageError, now: float) -> None:
        if isinstance(error, ObjectStorageFull):
            failure = sm.StorageFailed(0, str(error), error.directory, error.needed_bytes, error.free_bytes)
        elif isinstance(error, ObjectStorageError):
            failure = sm.StorageFailed(0, str(error))
        else:
            reason = error.strerror or errno.errorcode.get(error.errno or 0, "unknown")
            failure = sm.StorageFailed(0, f"the object storage cannot write to {self._directory.path}: {reason}")
        if self._throttle.allows("full", now):
            _log.error("%s", failure.reason)
        self._handle(e.UploadFailed(upload_id, failure), now)

    def _send(self, route: bytes, message: sm.StorageMessage, now: float) -> None:
        is_taken = self._outbox.send(route, codec.encode_storage(sm.StoragePacket([message])))
        if not is_taken and self._throttle.allows(route, now):
            _log.warning("peer %s does not read what it asked for: dropped that", route[:_SHOWN_BYTES].hex())


def _is_known(route: bytes) -> bool:
    return True  # nothing has to be known of a peer
