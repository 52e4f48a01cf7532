"""What stands for an object that a client has sent to the object storage."""

from typing import Any

from scaler_client.handles import Handle


class ObjectReference:
    """An object that `Client.send_object` stored: an argument of tasks, which receive the object in its place.

    It keeps the object until it is dropped, cleared, or its client disconnects. References are equal if they stand for
    the same object. A pickled copy keeps nothing alive: its client takes it while the original, or another, does.
    """

    __slots__ = ("_handle", "name", "object_id", "size")

    def __init__(self, name: bytes, size: int, object_id: bytes, handle: Handle | None = None) -> None:
        self.name = name
        """For people; the default starts with `<obj` and a blank."""
        self.size = size
        """Bytes that the object takes in the object storage."""
        self.object_id = object_id
        self._handle = handle  # keeps the object alive: nothing else here does

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectReference) and self.object_id == other.object_id

    def __hash__(self) -> int:
        return hash(self.object_id)

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectReference, (self.name, self.size, self.object_id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name.decode(errors='replace')} of {self.size} bytes>"
