"""What a client has in the object storage: puts and fetches for any thread, and deletes what is not kept any more.

The connection is made when the address is known. What finalizers release is deleted by the client's IO thread.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from scaler_client.exceptions import ClientQuitException, MissingObjects, ObjectStorageException
from scaler_client.handles import Handle
from scaler_client.object_reference import ObjectReference
from scaler_object_storage.connector import ObjectStorageConnector
from scaler_object_storage.errors import ObjectStorageClosed, ObjectStorageError, ObjectStorageUnreachable
from scaler_object_storage.values import Parts, Pieces
from scaler_protocol.addresses import Address
from scaler_protocol.identifiers import new_id

if TYPE_CHECKING:
    import zmq

_LINGER_SECONDS = 1.0


class Objects:
    """See the module. `owner` names the client to the object storage."""

    def __init__(
        self,
        context: "zmq.Context[Any]",
        owner: bytes,
        timeout_seconds: float,
        *,
        name: str = "",
        wake: Callable[[], None],
        closed_reason: Callable[[], str],
    ) -> None:
        """`wake` has the IO thread call `delete_released` soon; it is called by finalizers."""
        self._context = context
        self._owner = owner
        self._timeout_seconds = timeout_seconds
        self._name = name
        self._wake = wake
        self._closed_reason = closed_reason
        self._address: Address | None = None
        self._connector: ObjectStorageConnector | None = None
        self._released: deque[bytes] = deque()
        self._lock = threading.Lock()  # guards what follows
        self._sent: WeakValueDictionary[bytes, Handle] = WeakValueDictionary()
        self._has_stored = False

    @property
    def is_available(self) -> bool:
        """Whether there is an object storage."""
        return self._connector is not None

    @property
    def has_stored(self) -> bool:
        """Whether anything was ever stored in this client's name."""
        return self._has_stored

    # ---- for any thread

    def wait_until_ready(self, timeout_seconds: float) -> None:
        """Return when the object storage has answered, or if there is none; `TimeoutError` if it has not in time."""
        connector = self._connector
        if connector is None:
            return
        try:
            connector.wait_until_ready(timeout_seconds)
        except ObjectStorageUnreachable:
            text = f"no object storage answered at {connector.address} within {self._timeout_seconds:g} seconds"
            raise TimeoutError(text) from None
        except ObjectStorageError as error:
            raise self._translated(error) from error

    def put(self, parts: Parts) -> Handle:
        """Store an object. Raises `ObjectStorageException`, which names the place if that is full."""
        key = new_id()
        connector = self._open_connector()
        self._has_stored = True
        try:
            connector.put(key, self._owner, parts)
        except ObjectStorageError as error:
            raise self._translated(error) from error
        return Handle(self, key, parts.size)

    def send(self, parts: Parts, name: bytes) -> ObjectReference:
        """Store an object that tasks may be given by reference."""
        handle = self.put(parts)
        with self._lock:
            self._sent[handle.key] = handle
        return ObjectReference(name or b"<obj %b>" % handle.key.hex().encode(), handle.size, handle.key, handle)

    def handle_of(self, reference: ObjectReference) -> Handle:
        """Return what keeps a sent object alive; `MissingObjects` if this client does not have it, or no more."""
        with self._lock:
            handle = self._sent.get(reference.object_id)
        if handle is None:
            raise MissingObjects(f"this client does not hold {reference!r}: it is another's, was dropped, or cleared")
        return handle

    def fetch(self, key: bytes) -> memoryview:
        """See `Keeper`."""
        try:
            return self._open_connector().get(key, wait=False)
        except ObjectStorageError as error:
            raise self._translated(error) from error

    def fetch_value(self, key: bytes) -> memoryview | Pieces:
        """See `Keeper`."""
        try:
            return self._open_connector().get_value(key, wait=False)
        except ObjectStorageError as error:
            raise self._translated(error) from error

    def try_fetch(self, key: bytes) -> memoryview | None:
        """See `Keeper`."""
        try:
            return self._open_connector().try_get(key)
        except ObjectStorageError as error:
            raise self._translated(error) from error

    def release(self, key: bytes) -> None:
        """See `Keeper`."""
        if self._connector is not None:
            self._released.append(key)
            self._wake()

    def clear_sent(self) -> None:
        """Delete all objects that references stand for; nobody can use the references any more."""
        with self._lock:
            keys = list(self._sent)
            self._sent.clear()
        self.delete(keys)

    def delete(self, keys: Iterable[bytes]) -> None:
        """Delete objects that nobody keeps. Does nothing once the client has stopped."""
        connector = self._connector
        keys = list(keys)
        if connector is not None and keys:
            try:
                connector.delete(keys)
            except ObjectStorageClosed:
                return

    # ---- for the IO thread

    def use(self, address: Address | None) -> None:
        """Connect to the object storage at this address, without waiting; None: there is none."""
        if address == self._address or self._closed_reason():
            return
        previous, self._connector, self._address = self._connector, None, address
        if previous is not None:
            previous.close(0.0)
        if address is not None:
            connector = ObjectStorageConnector(
                self._context, address, timeout_seconds=self._timeout_seconds, name=self._name
            )
            connector.connect()
            self._connector = connector

    def keep(self, key: bytes, size: int) -> Handle:
        """Take over an object that a worker stored for this client."""
        self._has_stored = True
        return Handle(self, key, size)

    def delete_released(self) -> None:
        """Delete what finalizers have released since the last time."""
        if self._released:
            self.delete([self._released.popleft() for _ in range(len(self._released))])

    def leave_to_parent(self) -> None:
        """In a forked process: everything is the parent's."""
        self._connector = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Delete everything of this client and disconnect. Fetched values stay valid."""
        connector, self._connector = self._connector, None
        self._released.clear()
        if connector is None:
            return
        try:
            if self._has_stored:
                connector.delete_owner(self._owner)
            connector.close(_LINGER_SECONDS)
        except ObjectStorageError:
            return

    def _open_connector(self) -> ObjectStorageConnector:
        connector = self._connector
        reason = self._closed_reason()
        if reason:
            raise ClientQuitException(reason)
        if connector is None:
            raise ObjectStorageException("the scheduler has no object storage")
        return connector

    def _translated(self, error: ObjectStorageError) -> Exception:
        reason = self._closed_reason()
        return ClientQuitException(reason) if reason else ObjectStorageException(str(error))
