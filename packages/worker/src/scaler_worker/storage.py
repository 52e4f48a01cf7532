"""A worker's way to the object storage: made with the first large value, as most workers never see one.

The bytes of objects that several tasks may need stay at hand for a moment: on the storage's machine these are mappings
whose pages are there already, on others it spares fetching them again. The values are restored for each task anew:
only what cannot be changed is shared between tasks.
"""

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import zmq

from scaler_client.exceptions import ObjectStorageException
from scaler_object_storage.connector import ObjectStorageConnector
from scaler_object_storage.errors import ObjectStorageError
from scaler_object_storage.values import Parts, Pieces
from scaler_protocol.addresses import Address

TIMEOUT_SECONDS = 60.0
"""How long a task waits for an object storage that does not answer."""

KEPT_BYTES = 256 << 20
KEPT_SECONDS = 5.0
"""What was not used for so long is let go: mapped memory is not free before, though its object was deleted."""


class Storage:
    """See the module. Any thread may store and delete, the main thread fetches."""

    def __init__(
        self,
        context: "zmq.Context[Any]",
        name: str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.address = ""
        """Empty while there is none."""
        self._context = context
        self._name = name
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._connector: ObjectStorageConnector | None = None
        self._kept: dict[bytes, tuple[memoryview, float]] = {}  # bytes and last use by key, least recently used first
        self._kept_bytes = 0

    def use(self, address: str) -> None:
        """Say where the object storage is; empty: there is none."""
        with self._lock:
            if address == self.address:
                return
            previous, self._connector, self.address = self._connector, None, address
        if previous is not None:
            previous.close(0.0)

    def put(self, key: bytes, owner: bytes, parts: Parts) -> None:
        """Store an object for a client. Raises `ObjectStorageException`."""
        try:
            self._open_connector().put(key, owner, parts)
        except ObjectStorageError as error:
            raise ObjectStorageException(str(error)) from None

    def fetch(self, key: bytes) -> memoryview:
        """Return the bytes of an object that is needed once. Raises `ObjectStorageException`."""
        try:
            return self._open_connector().get(key, wait=False)
        except ObjectStorageError as error:
            raise ObjectStorageException(str(error)) from None

    def fetch_value(self, key: bytes) -> memoryview | Pieces:
        """Return a value that is needed once, for `load_value`. Raises `ObjectStorageException`."""
        try:
            return self._open_connector().get_value(key, wait=False)
        except ObjectStorageError as error:
            raise ObjectStorageException(str(error)) from None

    def fetch_shared(self, key: bytes) -> memoryview:
        """Return the bytes of an object that others may need too. Raises `ObjectStorageException`."""
        view = self._let_go(key) if key in self._kept else self.fetch(key)
        while self._kept and self._kept_bytes + view.nbytes > KEPT_BYTES:
            self._let_go(next(iter(self._kept)))
        if view.nbytes <= KEPT_BYTES:
            self._kept[key] = view, self._clock()
            self._kept_bytes += view.nbytes
        return view

    def delete(self, keys: Sequence[bytes]) -> None:
        """Delete objects soon. Never waits."""
        if keys and self.address:
            self._open_connector().delete(keys)

    def patience(self, now: float) -> float | None:
        """Return how long one may wait until `tidy` has something to do, None for ever."""
        if not self._kept:
            return None
        return max(0.0, next(iter(self._kept.values()))[1] + KEPT_SECONDS - now)

    def tidy(self, now: float) -> None:
        """Let go of what was not used for a while."""
        while self._kept and self.patience(now) == 0.0:
            self._let_go(next(iter(self._kept)))

    def _let_go(self, key: bytes) -> memoryview:
        view, _ = self._kept.pop(key)
        self._kept_bytes -= view.nbytes
        return view

    def _open_connector(self) -> ObjectStorageConnector:
        with self._lock:
            if self._connector is None:
                if not self.address:
                    raise ObjectStorageException("the scheduler has no object storage")
                address = Address.from_string(self.address)
                self._connector = ObjectStorageConnector(
                    self._context, address, timeout_seconds=self._timeout_seconds, name=self._name
                )
            return self._connector
