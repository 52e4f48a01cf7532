"""How clients and workers store and fetch objects: directly in the server's directory where they share its machine.

Only names travel then: whoever knows its key can open a file that is committed, before the server has heard of it.
Everything else is left to an IO thread, which starts with the first call.
"""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue

import zmq

from scaler_object_storage.conversation import Announce, Command, Conversation, Delete, Inbox
from scaler_object_storage.core.requests import Ask, Count, Fetch, OnDone, Outcome, Put, Ready
from scaler_object_storage.directory import SHARED_MEMORY
from scaler_object_storage.errors import ObjectStorageClosed, ObjectStorageError, ObjectStorageFull
from scaler_object_storage.folder import Folder
from scaler_object_storage.object_file import map_object, read_value, write_object
from scaler_object_storage.values import Parts, Pieces
from scaler_protocol.addresses import Address
from scaler_protocol.storage_messages import MAX_NAME_BYTES, Statistics
from scaler_runtime.peer_loop import PeerLoop

OnObject = Callable[[memoryview | ObjectStorageError], None]


class ObjectStorageConnector:
    """Usable from any thread. Errors are `ObjectStorageError`s.

    `timeout_seconds` is how long a call waits for the server without any progress.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        address: Address,
        *,
        timeout_seconds: float = 60.0,
        name: str = "",
        shared_memory_root: Path | None = SHARED_MEMORY,
    ) -> None:
        """`name` is for the server's log; without `shared_memory_root` all is streamed, as from another machine."""
        self.address = address
        self._context = context
        self._timeout_seconds = timeout_seconds
        self._name = name
        self._root = shared_memory_root
        self._lock = threading.Lock()
        self._line: _Line | None = None
        self._is_closed = False
        self._pid = os.getpid()

    def connect(self) -> None:
        """Begin to connect, without waiting: otherwise the first call does. Errors show in later calls."""
        self._open_line()

    def wait_until_ready(self, timeout_seconds: float | None = None) -> None:
        """Return when the server has answered; `ObjectStorageUnreachable` when it has not in time."""
        self._wait(lambda on_done: Ready(on_done, self._patience(timeout_seconds)))

    def put(self, key: bytes, owner: bytes, parts: Parts, *, timeout_seconds: float | None = None) -> None:
        """Store an object; when this returns, everybody can get it, and `parts` is no longer needed.

        What was stored under the key before is replaced. `ObjectStorageFull` if there is no place.
        """
        if not 1 <= len(key) <= MAX_NAME_BYTES or not 1 <= len(owner) <= MAX_NAME_BYTES:
            raise ValueError(f"keys and owners have 1 to {MAX_NAME_BYTES} bytes")
        line = self._open_line()
        if not line.conversation.has_begun:
            self.wait_until_ready(timeout_seconds)
        folder = line.conversation.folder
        if folder is not None and _write(folder, key, owner, parts):
            line.order(Announce([key]))
            return
        line.conversation.reopen_folder()
        patience = self._patience(timeout_seconds)
        self._wait(lambda on_done: Put(on_done, patience, key=key, owner=owner, parts=parts))

    def get(self, key: bytes, *, wait: bool = True, timeout_seconds: float | None = None) -> memoryview:
        """Return the bytes of an object, read-only; on the server's machine without a copy.

        They stay valid as long as anything refers to them, also after the object was deleted. `ObjectNotFound` if the
        object does not come into being in time, or at once without `wait`.
        """
        view = self.try_get(key)
        if view is not None:
            return view
        patience = self._patience(timeout_seconds)
        outcome = self._wait(lambda on_done: Fetch(on_done, patience, key=key, wait=wait))
        if not isinstance(outcome, memoryview):
            raise ObjectStorageError(f"the object storage answered {outcome!r}")
        return outcome

    def get_value(self, key: bytes, *, wait: bool = True, timeout_seconds: float | None = None) -> memoryview | Pieces:
        """Return an object that holds a value, for `load_value`: in pieces where its buffers are `bytes` objects.

        Otherwise as `get`.
        """
        folder = self._open_line().conversation.folder
        pieces = None if folder is None else read_value(folder, key)
        return self.get(key, wait=wait, timeout_seconds=timeout_seconds) if pieces is None else pieces

    def try_get(self, key: bytes) -> memoryview | None:
        """Return the bytes of an object if they can be had without asking the server; never waits."""
        line = self._open_line()
        folder = line.conversation.folder
        return None if folder is None else map_object(folder, key)

    def request(
        self, key: bytes, on_done: OnObject, *, wait: bool = True, timeout_seconds: float | None = None
    ) -> Callable[[], None]:
        """Get an object without waiting for it. Returns a function that takes the request back.

        `on_done` gets the bytes or an error, once: before this returns if they are at hand, else in the IO thread.
        """
        try:
            view = self.try_get(key)
        except ObjectStorageError as error:
            on_done(error)
            return _nothing
        if view is not None:
            on_done(view)
            return _nothing

        def on_outcome(outcome: Outcome) -> None:
            if isinstance(outcome, (memoryview, ObjectStorageError)):
                on_done(outcome)

        line = self._open_line()
        fetch = Fetch(on_outcome, self._patience(timeout_seconds), key=key, wait=wait)
        line.ask(fetch)
        return lambda: line.cancel(fetch)

    def delete(self, keys: Sequence[bytes]) -> None:
        """Have objects deleted soon, in order with other calls; what does not exist is ignored. Never waits."""
        line = self._open_line()
        if (folder := line.conversation.folder) is not None:
            folder.pins.release()  # else the server would not use their files again
        line.order(Delete(list(keys)))

    def delete_owner(self, owner: bytes) -> None:
        """Have all objects of an owner deleted soon. Never waits."""
        line = self._open_line()
        line.do(lambda _: line.conversation.requests.delete_owner(owner))

    def statistics(self, timeout_seconds: float | None = None) -> Statistics:
        """Return what the server holds, after everything that was asked of it from here before."""
        outcome = self._wait(lambda on_done: Count(on_done, self._patience(timeout_seconds)))
        if not isinstance(outcome, Statistics):
            raise ObjectStorageError(f"the object storage answered {outcome!r}")
        return outcome

    def close(self, linger_seconds: float = 1.0) -> None:
        """End; calls that wait raise `ObjectStorageClosed`. What was asked before is done within `linger_seconds`."""
        with self._lock:
            line, self._line = self._line, None
            self._is_closed = True
        if line is not None and self._pid == os.getpid():
            line.close(linger_seconds)

    def _open_line(self) -> "_Line":
        line = self._line
        if line is not None and self._pid == os.getpid():
            return line
        if self._pid != os.getpid():
            raise ObjectStorageClosed("this connector belongs to the process that this one was forked from")
        with self._lock:
            if self._is_closed:
                raise ObjectStorageClosed("the connector was closed")
            if self._line is None:
                self._line = _Line(Conversation(self._context, self.address, self._name, self._root))
            return self._line

    def _wait(self, make_ask: Callable[[OnDone], Ask]) -> Outcome:
        line = self._open_line()
        answer: SimpleQueue[Outcome] = SimpleQueue()
        ask = make_ask(answer.put)
        line.ask(ask)
        try:
            outcome = answer.get()
        except BaseException:
            line.cancel(ask)
            raise
        if isinstance(outcome, ObjectStorageError):
            try:
                raise outcome
            finally:
                del outcome  # else it would refer to itself by its traceback, and keep what was to be stored
        return outcome

    def _patience(self, timeout_seconds: float | None) -> float:
        return self._timeout_seconds if timeout_seconds is None else timeout_seconds


class _Line:
    """A conversation with the thread that leads it."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self._inbox = Inbox(conversation)
        self._loop = PeerLoop(conversation, self._inbox)
        self._thread = threading.Thread(target=self._loop.run, name="object storage", daemon=True)
        self._has_orders = False
        self._is_closed = False
        self._lock = threading.Lock()
        self._thread.start()

    def order(self, order: Announce | Delete) -> None:
        """Have something done soon that nobody waits for."""
        self._has_orders = True
        if not self._inbox.put(order):
            self._loop.wake()

    def do(self, command: Command) -> None:
        """Have something done at once that nobody waits for."""
        self._has_orders = True
        self._inbox.put(command)
        self._loop.wake()

    def ask(self, ask: Ask) -> None:
        with self._lock:
            if not self._is_closed:
                self._inbox.ask(ask)
                self._loop.wake()
                return
        ask.on_done(ObjectStorageClosed("the connector was closed"))

    def cancel(self, ask: Ask) -> None:
        self._inbox.cancel(ask)
        self._loop.wake()

    def close(self, linger_seconds: float) -> None:
        if self._has_orders and linger_seconds > 0:
            answer: SimpleQueue[Outcome] = SimpleQueue()
            self.ask(Count(answer.put, linger_seconds))
            answer.get()
        with self._lock:
            self._is_closed = True
        self._loop.stop()
        self._thread.join()
        self._inbox.on_wake(0.0)
        self.conversation.close()


def _write(folder: Folder, key: bytes, owner: bytes, parts: Parts) -> bool:
    """Write an object into the server's directory; False where only the server may know a place."""
    try:
        write_object(folder, key, owner, parts)
    except (FileNotFoundError, ObjectStorageFull):
        return False
    except OSError as error:
        raise ObjectStorageError(f"cannot store {parts.size} bytes in {folder.path}: {error.strerror}") from error
    return True


def _nothing() -> None:
    """Take back what is done."""
