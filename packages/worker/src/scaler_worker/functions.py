"""The functions a process may be told to call. The IO thread takes them in, the main thread restores them."""

from collections.abc import Callable
from typing import Any

from scaler_client.serializer import Serializer, load_function

Loaded = tuple[Callable[..., Any], Serializer]


class Function:
    """One function, restored at its first use. Its failure is not remembered: a missing module may appear."""

    __slots__ = ("_loaded", "_payload", "name")

    def __init__(self, name: str, payload: bytes) -> None:
        self.name = name
        self._payload = payload
        self._loaded: Loaded | None = None

    def load(self) -> Loaded:
        """Return the function and its serializer; raises whatever restoring it raises."""
        if self._loaded is None:
            self._loaded = load_function(self._payload)
            self._payload = b""
        return self._loaded


class UndefinedFunction(Function):
    """Stands for a function that the scheduler did not define; loading it says so."""

    def load(self) -> Loaded:
        raise LookupError(f"the scheduler did not send function {self.name}")


class Functions:
    """The table, by function id. Slices keep what they need, so that forgetting is immediate."""

    def __init__(self) -> None:
        self._functions: dict[bytes, Function] = {}

    def define(self, function_id: bytes, name: str, payload: bytes) -> None:
        self._functions[function_id] = Function(name, payload)

    def forget(self, function_ids: list[bytes]) -> None:
        for function_id in function_ids:
            self._functions.pop(function_id, None)

    def forget_all(self) -> None:
        self._functions.clear()

    def get(self, function_id: bytes) -> Function:
        """Return the function, or one that fails to load."""
        return self._functions.get(function_id) or UndefinedFunction(function_id.hex(), b"")
