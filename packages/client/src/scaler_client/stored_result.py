"""A result that lies in the object storage until somebody asks for it. Whoever asks fetches it, in his own thread."""

import traceback
from typing import Any

from scaler_client.exceptions import DeserializeObjectError
from scaler_client.handles import Handle
from scaler_client.serializer import Serializer, is_default
from scaler_client.stored import load_stored
from scaler_object_storage.values import Pieces


class StoredResult:
    """Takes the place of the value in a future, or in the results of a map. Keeps the object alive."""

    __slots__ = ("_serializer", "handle")

    def __init__(self, handle: Handle, serializer: Serializer) -> None:
        self.handle = handle
        self._serializer = serializer

    def restore(self) -> Any:
        """Return the value. Raises `ObjectStorageException`, `ClientQuitException` and `DeserializeObjectError`."""
        return self.load(self.handle.fetch_value() if is_default(self._serializer) else self.handle.fetch())

    def load(self, stored: memoryview | Pieces) -> Any:
        """Return the value that the object holds; `DeserializeObjectError` if that is not possible."""
        try:
            return load_stored(stored, self._serializer)
        except Exception:  # noqa: BLE001 - whatever the result's own methods raise, or a module that is missing here
            text = f"the result cannot be restored in the client:\n\n{traceback.format_exc()}"
        raise DeserializeObjectError(text)
