"""Which functions the scheduler has of this client: a bounded table, least recently used first."""

from collections import Counter

from scaler_client.functions import Function

MAX_IDLE = 256
MAX_IDLE_BYTES = 32 << 20
MAX_USED = 4096
MAX_USED_BYTES = 128 << 20
"""Of functions of unfinished batches; tasks of more wait for credit."""


class DefinedFunctions:
    """Functions of unfinished batches stay; of the others the table keeps the last ones used."""

    def __init__(self) -> None:
        self._idle: dict[bytes, int] = {}  # function id -> bytes, least recently used first
        self._idle_bytes = 0
        self._batches: dict[bytes, int] = {}  # how many use each
        self._used_bytes = 0

    def __len__(self) -> int:
        return len(self._idle) + len(self._batches)

    def has_room(self, function: Function) -> bool:
        """Whether one more batch may use this function: the scheduler keeps no more for a client."""
        if function.function_id in self._batches:
            return True
        return len(self._batches) < MAX_USED and self._used_bytes + len(function.payload) <= MAX_USED_BYTES

    def use(self, function: Function) -> bool:
        """Count a batch of the function; true if it must be defined first."""
        function_id = function.function_id
        if function_id in self._batches:
            self._batches[function_id] += 1
            return False
        self._batches[function_id] = 1
        self._used_bytes += len(function.payload)
        if function_id not in self._idle:
            return True
        self._idle_bytes -= self._idle.pop(function_id)
        return False

    def release(self, function: Function) -> list[bytes]:
        """A batch of the function is over; return the ids of functions to be forgotten now."""
        function_id = function.function_id
        self._batches[function_id] -= 1
        if self._batches[function_id]:
            return []
        del self._batches[function_id]
        size = len(function.payload)
        self._used_bytes -= size
        self._idle[function_id] = size
        self._idle_bytes += size
        forgotten: list[bytes] = []
        while len(self._idle) > MAX_IDLE or self._idle_bytes > MAX_IDLE_BYTES:
            oldest = next(iter(self._idle))
            self._idle_bytes -= self._idle.pop(oldest)
            forgotten.append(oldest)
        return forgotten

    def clear(self) -> None:
        """The scheduler knows none."""
        self._idle.clear()
        self._idle_bytes = 0
        self._batches.clear()
        self._used_bytes = 0

    def check(self, batches: Counter[bytes]) -> None:
        """Raise `AssertionError` unless exactly these functions are in use."""
        if self._batches != batches:
            raise AssertionError(f"functions in use: {self._batches}; of batches: {batches}")
        if self._idle_bytes != sum(self._idle.values()) or self._batches.keys() & self._idle.keys():
            raise AssertionError("the table of idle functions is off")
