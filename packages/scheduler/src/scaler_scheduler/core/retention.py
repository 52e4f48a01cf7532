"""What is kept of a client that has vanished, in case it comes back under the same id: its objects, its functions.

Only a client that takes its leave is over at once.
"""

from dataclasses import dataclass, field

from scaler_runtime.core import Peer
from scaler_scheduler.core.dispatch import Dispatch
from scaler_scheduler.core.state import Client, Function, Outbox, State


@dataclass(slots=True)
class _Kept:
    until: float
    functions: dict[bytes, Function] = field(default_factory=dict[bytes, Function])


class Retention:
    """See the module. A function is kept by its client's name among those who may use it, as if that were there."""

    def __init__(self, seconds: float, state: State, out: Outbox, dispatch: Dispatch) -> None:
        self._seconds = seconds
        self._state = state
        self._out = out
        self._dispatch = dispatch
        self._kept: dict[Peer, _Kept] = {}  # in the order of their ends
        self.is_concerned = False

    def keep(self, client: Client, now: float) -> None:
        """Keep what a client has that has just vanished."""
        before = self._kept.pop(client.peer, None)
        functions = client.functions if before is None else {**before.functions, **client.functions}
        self._kept[client.peer] = _Kept(now + self._seconds, functions)
        self.is_concerned = True

    def free(self, client: Client) -> None:
        """Let everything go of a client that has just taken its leave."""
        self.keep(client, 0.0)
        self._end(client.peer)

    def settle(self, now: float) -> None:
        """Let go what was kept for long enough; a client that is back has its own again."""
        while self._kept and next(iter(self._kept.values())).until <= now:
            self._end(next(iter(self._kept)))
        self.is_concerned = bool(self._kept)

    def next_wakeup(self) -> float | None:
        """Return when `settle` is wanted."""
        return next(iter(self._kept.values())).until if self._kept else None

    def _end(self, peer: Peer) -> None:
        kept = self._kept.pop(peer)
        client = self._state.clients.get(peer)
        for function_id, function in kept.functions.items():
            if client is None or function_id not in client.functions:
                function.clients.discard(peer)
                self._dispatch.outcomes.release(function)
        if client is None:
            self._out.delete_owner(peer)
