"""A connector's conversation with the server: socket and requests together, for the IO thread that owns them.

What other threads want is left in an `Inbox`; what they wait for is told to them from here.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import zmq

from scaler_object_storage.core.requests import Ask, Fetch, Found, OnDone, Outcome, Requests, Settled
from scaler_object_storage.directory import SHARED_MEMORY, shared_folder
from scaler_object_storage.errors import ObjectStorageError
from scaler_object_storage.folder import Folder
from scaler_object_storage.object_file import map_object
from scaler_protocol import codec
from scaler_protocol import storage_messages as sm
from scaler_protocol.addresses import Address
from scaler_protocol.errors import ProtocolError
from scaler_protocol.identifiers import new_id
from scaler_runtime.session import SessionEvent
from scaler_runtime.throttle import Throttle
from scaler_runtime.transport import DealerSocket, SendResult

_RETRY_SECONDS = 0.01
_log = logging.getLogger(__name__)

GATHER_SECONDS = 0.02
"""How long more orders are awaited after some were carried out."""

ANNOUNCE_SECONDS = 0.1
"""How long after announcements alone: those are only for who waits already, everybody else finds the files."""


@dataclass(slots=True)
class Announce:
    """Files that were committed."""

    keys: list[bytes]


@dataclass(slots=True)
class Delete:
    """Objects that nobody needs any more."""

    keys: list[bytes]


Command = Callable[[float], None]
"""Gets the time."""


class Conversation:
    """See the module. `folder` and `has_begun` may be read from any thread."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        address: Address,
        name: str,
        root: Path | None = SHARED_MEMORY,
    ) -> None:
        """`root` None: everything is streamed."""
        self.requests = Requests(name, str(address), new_id)
        self.folder: Folder | None = None
        """The server's directory, if it can be used from here."""
        self.has_begun = False
        """Whether the server has ever answered."""
        self._address = address
        self._root = root
        self._socket = DealerSocket(context, address)
        self._throttle = Throttle()
        self._is_blocked = False

    def filenos(self) -> tuple[int, int]:
        """Return the descriptors to watch for reading."""
        return self._socket.filenos()

    def pump(self, now: float) -> list[SessionEvent]:
        """Read everything that waits; there is nothing left for others to do about it."""
        for is_connected in self._socket.connection_changes():
            if is_connected:
                self.requests.on_connected()
            else:
                self.requests.on_disconnected()
        while (frames := self._socket.receive()) is not None:
            try:
                packet = codec.decode_storage(frames)
            except ProtocolError as error:
                if self._throttle.allows("malformed", now):
                    _log.warning("dropped a malformed message of the object storage at %s: %s", self._address, error)
                continue
            for message in packet.messages:
                self._on_message(message, now)
        return []

    def flush(self, now: float) -> bool:
        """Hand over what is to be sent. Returns whether input waits: then `pump` again."""
        outgoing = self.requests.outgoing
        self._is_blocked = False
        while outgoing:
            if self._socket.send(codec.encode_storage(sm.StoragePacket([outgoing[0]]))) is not SendResult.SENT:
                self._is_blocked = True
                break
            outgoing.popleft()
        return self._socket.has_input()

    def next_wakeup(self, now: float) -> float | None:
        """Return when `flush` is wanted at the latest."""
        return now + _RETRY_SECONDS if self._is_blocked else None

    def tell(self, settled: list[Settled], now: float) -> None:
        """Call whoever waited for it."""
        for item in settled:
            outcome: Outcome = item.outcome
            if isinstance(outcome, Found) and isinstance(item.ask, Fetch):
                view = self._map(item.ask.key)
                if view is None:  # deleted since, or on a disk that is another one here
                    item.ask.streams = True
                    self.tell(self.requests.ask(item.ask, now), now)
                    continue
                outcome = view
            _call(item.ask.on_done, outcome)

    def close(self) -> None:
        """Close the socket and fail what is still waited for."""
        self.folder = None  # closed when no call uses it any more; views keep their pins
        self._socket.close()
        self.tell(self.requests.fail_all(), 0.0)

    def _on_message(self, message: sm.StorageMessage, now: float) -> None:
        if isinstance(message, sm.StorageWelcome):
            self.folder = None
            if self._root is not None:
                self.folder = shared_folder(message.directory, message.nonce, self._root)
            self.has_begun = True
            self.tell(self.requests.on_welcome(self.folder is not None, now), now)
        else:
            self.tell(self.requests.on_message(message, now), now)

    def reopen_folder(self) -> None:
        """Look whether the server has made its directory anew, after somebody had removed it. For any thread."""
        folder = self.folder
        if folder is not None and not folder.is_current:
            with contextlib.suppress(OSError):
                self.folder = Folder(folder.path)

    def _map(self, key: bytes) -> memoryview | ObjectStorageError | None:
        self.reopen_folder()
        if self.folder is None:
            return None
        try:
            return map_object(self.folder, key)
        except ObjectStorageError as error:
            return error


class Inbox:
    """What other threads want of a conversation; its loop calls `on_wake`.

    Orders (announcements, deletions) are not urgent: after some were taken, more are awaited for a moment, so that a
    thread that stores many objects does not wake the loop for each. A deletion waits for memory to be used again.
    """

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._awaited: tuple[type, ...] = ()  # the kinds of orders that need no `wake` now
        self._commands: deque[Announce | Delete | Command] = deque()
        self._look_at: float | None = None

    def put(self, command: Announce | Delete | Command) -> bool:
        """Leave something to be done; everything is done in order. Returns whether `on_wake` looks soon by itself."""
        self._commands.append(command)
        return isinstance(command, self._awaited)

    def ask(self, ask: Ask) -> None:
        """Leave a question."""
        self.put(lambda now: self._conversation.tell(self._conversation.requests.ask(ask, now), now))

    def cancel(self, ask: Ask) -> None:
        """Take a question back."""
        self.put(lambda now: self._conversation.requests.cancel(ask, now))

    def on_event(self, event: SessionEvent, now: float) -> None:
        """There are none: a conversation deals with everything itself."""

    def on_wake(self, now: float) -> None:
        """Do what was left here, and what time has made due."""
        awaited, self._awaited = self._awaited, ()  # before looking: who leaves an order after that wakes the loop
        kinds = self._take(now)
        if Delete in kinds:
            self._look_at, awaited = now + GATHER_SECONDS, (Announce, Delete)
        elif Announce in kinds:
            self._look_at, awaited = now + ANNOUNCE_SECONDS, (Announce,)
        elif self._look_at is not None and now >= self._look_at:
            self._look_at, awaited = None, ()
        self._awaited = awaited
        self._conversation.tell(self._conversation.requests.on_time(now), now)

    def next_wakeup(self) -> float | None:
        """Return when `on_wake` is wanted at the latest."""
        wakeups = (self._look_at, self._conversation.requests.next_wakeup())
        return min((at for at in wakeups if at is not None), default=None)

    def _take(self, now: float) -> set[type]:
        """Do everything in order, orders between two questions together; of which types it was."""
        commands = [self._commands.popleft() for _ in range(len(self._commands))]
        for _, group in groupby(commands, lambda command: isinstance(command, (Announce, Delete))):
            orders: list[Announce | Delete] = []
            for command in group:
                if isinstance(command, (Announce, Delete)):
                    orders.append(command)
                else:
                    command(now)
            self._give(orders)
        return set(map(type, commands))

    def _give(self, orders: list[Announce | Delete]) -> None:
        """Give orders on, all of one kind together: storing and deleting in turns shall not make a message each."""
        announced: list[bytes] = []
        deleted: dict[bytes, None] = {}
        for order in orders:
            if isinstance(order, Delete):
                deleted.update(dict.fromkeys(order.keys))
                continue
            if not deleted.keys().isdisjoint(order.keys):  # stored again under a key that was deleted before
                self._send(announced, deleted)
                announced, deleted = [], {}
            announced += order.keys
        self._send(announced, deleted)

    def _send(self, announced: list[bytes], deleted: dict[bytes, None]) -> None:
        if announced:
            self._conversation.requests.announce(announced)
        if deleted:
            self._conversation.requests.delete(list(deleted))


def _call(on_done: OnDone, outcome: Outcome) -> None:
    try:
        on_done(outcome)
    except Exception:  # noqa: BLE001 - the caller's; others still wait for theirs
        _log.exception("a callback for an object failed")
