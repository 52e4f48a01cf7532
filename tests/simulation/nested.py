"""Clients inside tasks. A task of -2 seconds submits some of -1 seconds and waits for them; these do so with others."""

from collections.abc import Callable

from scaler_protocol import messages as m
from scaler_protocol.batch import U32, column, numbers
from scaler_runtime.session import Rejected, SessionEvent, Up
from tests.simulation.clients import ranges, submission
from tests.simulation.network import Peer, Server
from tests.simulation.world import World

MAX_DEPTH = 3
FUNCTION = "e"
_CHILDREN = 2
_LEAF_SECONDS = 0.03


class NestedClient(Peer):
    """Submits a task's children once, and tells when all have ended, or when nobody waits for them any more."""

    role = "client"

    def __init__(  # noqa: PLR0917 - as a peer, and what its task knows
        self,
        world: World,
        server: Server,
        home: tuple[str, int],
        name: str,
        depth: int,
        priority: int,
        is_held: Callable[[], bool],
        on_done: Callable[[], None],
    ) -> None:
        super().__init__(world, server, name)
        self.session.identity.parent_worker, self.session.identity.parent_incarnation = home
        seconds = 1.0 - depth if depth > 1 else _LEAF_SECONDS
        self._batch = submission(1, FUNCTION, _CHILDREN, seconds, priority=priority)
        self._outcomes: dict[int, None] = {}
        self._is_held = is_held
        self._on_done = on_done

    def on_event(self, event: SessionEvent) -> None:
        """See to it that the task does not wait for ever."""
        if isinstance(event, Rejected):
            self.give_up()
        else:
            super().on_event(event)

    def on_up(self, up: Up) -> None:
        """Submit, again if need be."""
        if up.fresh:
            self.send(m.DefineFunction(FUNCTION.encode() * 16, FUNCTION, b"code"))
            self._batch.finished = column(U32, ranges(self._outcomes))
            self.send(self._batch)

    def on_message(self, message: m.Message) -> None:
        """Note outcomes; none is noted twice."""
        if isinstance(message, m.TaskResults):
            for start, number in zip(numbers(U32, message.starts), numbers(U32, message.counts), strict=True):
                self._outcomes.update(dict.fromkeys(range(start, start + number)))
            self.look()

    def look(self) -> None:
        """Let the task go on if it may: a stopped one does not."""
        if self.is_alive and len(self._outcomes) == self._batch.count and not self._is_held():
            self.give_up()

    def give_up(self) -> None:
        """Leave, and let the task go on."""
        if self.is_alive:
            self.kill("its task goes on")
            self._on_done()

    def beat(self) -> None:
        """Give a sign of life, if the process is not stopped."""
        if not self._is_held():
            super().beat()
