"""What could not be sent to a peer at once waits here: bounded, so that a peer that does not read costs little."""

from collections import deque
from collections.abc import Callable

from scaler_runtime.transport import Frames, SendResult

MAX_WAITING_BYTES = 16 << 20
"""Of one peer. More than a connector asks for at once (`requests.WINDOW_BYTES`)."""

MAX_WAITING_MESSAGES = 1000

Send = Callable[[bytes, Frames], SendResult]


class Outbox:
    """Keeps the order for each route. What is dropped is asked for again by a peer that is alive."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: dict[bytes, deque[Frames]] = {}
        self._bytes: dict[bytes, int] = {}

    def __bool__(self) -> bool:
        """Whether something waits for `flush`."""
        return bool(self._waiting)

    def __str__(self) -> str:
        """Return what waits, for people."""
        messages = sum(map(len, self._waiting.values()))
        return f"{messages} messages to {len(self._waiting)} peers, {sum(self._bytes.values())} bytes"

    def send(self, route: bytes, frames: Frames) -> bool:
        """Send now or later; False if the peer does not read and everything for it was dropped."""
        waiting = self._waiting.get(route)
        if waiting is None:
            if self._send(route, frames) is SendResult.FULL:
                self._waiting[route] = deque([frames])
                self._bytes[route] = _size(frames)
            return True
        waiting.append(frames)
        self._bytes[route] += _size(frames)
        if self._bytes[route] <= MAX_WAITING_BYTES and len(waiting) <= MAX_WAITING_MESSAGES:
            return True
        self._forget(route)
        return False

    def flush(self) -> None:
        """Send what is taken."""
        for route, waiting in list(self._waiting.items()):
            while waiting:
                result = self._send(route, waiting[0])
                if result is SendResult.FULL:
                    break
                if result is SendResult.UNREACHABLE:
                    waiting.clear()
                    break
                self._bytes[route] -= _size(waiting.popleft())
            if not waiting:
                self._forget(route)

    def _forget(self, route: bytes) -> None:
        del self._waiting[route]
        del self._bytes[route]


def _size(frames: Frames) -> int:
    return sum(map(len, frames))
