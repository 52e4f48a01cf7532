"""The scheduler's own conversation with the object storage: has removed what nobody needs, asks how much lies there.

Never waits. What is to be removed is kept, within bounds, and said again until the object storage has done it, however
often that is started again. The connection is made when there is something to say.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import zmq

from scaler_protocol.addresses import Address
from scaler_runtime.gate import has_descriptors

if TYPE_CHECKING:
    from scaler_object_storage.conversation import Conversation
    from scaler_object_storage.core.requests import Outcome

MAX_KEYS = 200_000
MAX_OWNERS = 20_000
"""More that is to be removed is not remembered; objects that are left so go with their owner, or with the server."""

MAX_ORDERS_UNDER_WAY = 8
ASK_AGAIN_SECONDS = 5.0
"""What is not answered is said again."""

_DESCRIPTORS = 10
"""More than a connection and what is imported for it need."""

_log = logging.getLogger(__name__)


class StorageLine:
    """Belongs to one asyncio loop. The figures are those of the last answer, zero before the first."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        address: Address,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.objects = 0
        self.size = 0
        """Bytes of all objects."""
        self._context = context
        self._address = address.seen_from(address)
        self._clock = clock
        self._keys: dict[bytes, None] = {}
        self._owners: dict[bytes, None] = {}
        self._conversation: Conversation | None = None
        self._is_asking = False
        self._repeat_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._is_closed = False

    def delete(self, keys: list[bytes]) -> None:
        """Have objects removed."""
        self._remember(self._keys, keys, MAX_KEYS, "objects")

    def delete_owner(self, owner: bytes) -> None:
        """Have all objects of an owner removed."""
        self._remember(self._owners, [owner], MAX_OWNERS, "owners")

    def ask(self) -> None:
        """Ask for the figures, unless an answer is awaited."""
        if self._is_asking or self._is_closed or not self._can_open():
            return
        from scaler_object_storage.core.requests import Count

        self._is_asking = True
        conversation, now = self._open(), self._clock()
        conversation.tell(conversation.requests.ask(Count(self._on_figures, ASK_AGAIN_SECONDS), now), now)
        self._turn_soon()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to be removed."""
        orders = 0 if self._conversation is None else self._conversation.requests.orders
        return not (self._keys or self._owners or orders)

    async def close(self, linger_seconds: float = 0.0) -> None:
        """Close; what was to be removed before is, within that time, if the object storage is there."""
        if not self.is_idle and linger_seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), linger_seconds)
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._conversation is not None:
            for descriptor in self._conversation.filenos():
                asyncio.get_running_loop().remove_reader(descriptor)
            self._conversation.close()

    # ---- inside

    def _remember(self, table: dict[bytes, None], names: list[bytes], most: int, what: str) -> None:
        if self._is_closed:
            return
        room = most - len(table)
        if len(names) > room:
            _log.warning("the object storage at %s does not answer: some %s stay there", self._address, what)
        table.update(dict.fromkeys(names[: max(0, room)]))
        self._idle.clear()
        self._turn_soon()

    def _can_open(self) -> bool:
        """Whether there are descriptors for it: without them, reading the schema ends the process (libkj)."""
        return self._conversation is not None or has_descriptors(_DESCRIPTORS)

    def _open(self) -> "Conversation":
        if self._conversation is None:
            from scaler_object_storage.conversation import Conversation  # not before it is needed: imports take time

            self._conversation = Conversation(self._context, self._address, "scheduler", root=None)
            for descriptor in self._conversation.filenos():
                asyncio.get_running_loop().add_reader(descriptor, self._turn)
        return self._conversation

    def _turn_soon(self) -> None:
        """Everything that is said within one turn of the loop leaves together."""
        self._turn_at(0.0)

    def _turn_at(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._turn)

    def _turn(self) -> None:
        if not self._can_open():
            self._turn_at(ASK_AGAIN_SECONDS)
            return
        conversation = self._open()
        requests = conversation.requests
        while True:
            now = self._clock()
            conversation.pump(now)
            self._hand_over(conversation, now)
            conversation.tell(requests.on_time(now), now)
            if not conversation.flush(now):
                break
        if self.is_idle:
            self._idle.set()
        wakeups = (conversation.next_wakeup(now), requests.next_wakeup(), self._repeat_at)
        due = min((at for at in wakeups if at is not None), default=None)
        if due is not None:
            self._turn_at(max(0.0, due - now))

    def _hand_over(self, conversation: "Conversation", now: float) -> None:
        """Say what is to be removed, as long as the object storage keeps up."""
        requests = conversation.requests
        if self._keys and requests.orders < MAX_ORDERS_UNDER_WAY:
            keys, self._keys = list(self._keys), {}
            requests.delete(keys)
        while self._owners and requests.orders < MAX_ORDERS_UNDER_WAY:
            owner = next(iter(self._owners))
            del self._owners[owner]
            requests.delete_owner(owner)
        if not requests.orders:
            self._repeat_at = None
        elif self._repeat_at is None:
            self._repeat_at = now + ASK_AGAIN_SECONDS
        elif now >= self._repeat_at:
            self._repeat_at = now + ASK_AGAIN_SECONDS
            requests.repeat_orders()

    def _on_figures(self, outcome: "Outcome") -> None:
        from scaler_protocol.storage_messages import Statistics

        self._is_asking = False
        if isinstance(outcome, Statistics):
            self.objects, self.size = outcome.objects, outcome.size
