"""What keeps one stored object alive. With the last reference to its handle the object is deleted."""

from typing import Protocol

from scaler_object_storage.values import Pieces


class Keeper(Protocol):
    """What a handle needs of its client's objects."""

    def release(self, key: bytes) -> None:
        """Note that nothing needs an object any more. Called by finalizers: must not wait, lock or raise."""
        ...

    def fetch(self, key: bytes) -> memoryview:
        """Return the bytes of an object; waits for them. Raises `ObjectStorageException` and `ClientQuitException`."""
        ...

    def fetch_value(self, key: bytes) -> memoryview | Pieces:
        """Do the same for a value that the default serializer has pickled, for `load_value`."""
        ...

    def try_fetch(self, key: bytes) -> memoryview | None:
        """Return them if that needs no waiting. Raises the same."""
        ...


class Handle:
    """See the module. Futures, references and batches hold the handles of what they need."""

    __slots__ = ("__weakref__", "_keeper", "key", "size")

    def __init__(self, keeper: Keeper, key: bytes, size: int) -> None:
        self._keeper = keeper
        self.key = key
        self.size = size
        """Bytes that the object takes."""

    def fetch(self) -> memoryview:
        """Return the bytes of the object: see `Keeper`. They stay valid when the object is deleted."""
        return self._keeper.fetch(self.key)

    def fetch_value(self) -> memoryview | Pieces:
        """Return the object, which holds a value: see `Keeper`."""
        return self._keeper.fetch_value(self.key)

    def try_fetch(self) -> memoryview | None:
        """Return them if that needs no waiting, else None."""
        return self._keeper.try_fetch(self.key)

    def __del__(self) -> None:
        self._keeper.release(self.key)
