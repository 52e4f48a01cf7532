"""Which functions the scheduler has of this client: a bounded table, least recently used first."""

from collections import Counter

from scaler_client.functions import Function

MAX_IDLE = 256
MAX_IDLE_BYTES = 32 << 20


class DefinedFunctions:
    """Functions of unfinished batches stay; of the others the table keeps the last ones used."""

    def __init__(self) -> None:
        self._idle: dict[bytes, int] = {}  # function id -> bytes, least recently used first
        self._idle_bytes = 0
        self._batches: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return len(self._idle) + len(self._batches)

    def use(self, function: Function) -> bool:
        """Count a batch of the function; true if it must be defined first."""
        function_id = function.function_id
        new = function_id not in self._batches
        if new and function_id in self._idle:
            self._idle_bytes -= self._idle.pop(function_id)
            new = False
        self._batches[function_id] += 1
        return new

    def release(self, function: Function) -> list[bytes]:
        """A batch of the function is over; return the ids of functions to be forgotten now."""
        function_id = function.function_id
        self._batches[function_id] -= 1
        if self._batches[function_id]:
            return []
        del self._batches[function_id]
        self._idle[function_id] = len(function.payload)
        self._idle_bytes += len(function.payload)
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

    def check(self, batches: Counter[bytes]) -> None:
        """Raise `AssertionError` unless exactly these functions are in use."""
        if self._batches != batches:
            raise AssertionError(f"functions in use: {self._batches}; of batches: {batches}")
        if self._idle_bytes != sum(self._idle.values()) or self._batches.keys() & self._idle.keys():
            raise AssertionError("the table of idle functions is off")
