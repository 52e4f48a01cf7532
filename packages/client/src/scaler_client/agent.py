"""A client's IO thread: brings what other threads left at the door to the core, and what the scheduler says.

The thread and its futures never refer to the `Client`, so that dropping the client ends them.
"""

import atexit
import logging
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import zmq

from scaler_client.batches import Batch, Receiver
from scaler_client.callbacks import CallbackThread
from scaler_client.calls import FutureReceiver, OpenBatch, Terms
from scaler_client.core import ClientCore
from scaler_client.door import Door, Left
from scaler_client.exceptions import (
    ClientCancelledException,
    ClientQuitException,
    ClientShutdownException,
    SchedulerWarning,
)
from scaler_client.outcomes import Failure
from scaler_client.packing import Packed, pack_shared
from scaler_client.serializer import Serializer
from scaler_protocol.addresses import Address
from scaler_protocol.identifiers import new_id
from scaler_protocol.messages import Message, Notice, RequestShutdown, Shutdown, ShutdownRefused, TaskResults
from scaler_runtime.connection import Connection
from scaler_runtime.peer_loop import PeerLoop
from scaler_runtime.session import Identity, Incoming, Rejected, SessionEvent, Up

MAX_WAITING_BYTES = 16 << 20
"""The door shows no room when so much of what was submitted has no credit yet."""

_LINGER_SECONDS = 1.0
_JOIN_SECONDS = 5.0
_DISCONNECTED = "the client is disconnected"
_FORKED = "the client belongs to the process that this one was forked from"
_log = logging.getLogger(__name__)


class Agent:
    """See the module. `identity` names the client to the scheduler and to people."""

    def __init__(
        self, address: Address, serializer: Serializer, timeout_seconds: float, heartbeat_seconds: float
    ) -> None:
        self.client_id = new_id()
        self.identity = b"Client|" + self.client_id.hex().encode()
        self.address = address
        self._serializer = serializer
        self._timeout_seconds = timeout_seconds
        self._beat_seconds = min(heartbeat_seconds, timeout_seconds / 3)
        self._core = ClientCore(timeout_seconds)
        self._callbacks = CallbackThread("scaler-callbacks")
        self._noticed: set[str] = set()
        self._clearing: list[tuple[set[int], threading.Event]] = []
        self._answered = threading.Event()  # it is up, or has ended
        self._refusal: str | None = None  # of a shutdown
        self._decided = threading.Event()  # a shutdown was refused, or it has ended
        self._dropped = False
        self._forked = False
        self._round_at = time.monotonic()
        self._awake_since = self._round_at
        self._context: zmq.Context[Any] = zmq.Context()
        identity = Identity("client", self.identity.decode(), self.client_id)
        self._connection = Connection(self._context, address, identity, self._beat_seconds)
        self._loop = PeerLoop(self._connection, self)
        self._thread = threading.Thread(target=self._run, name="scaler-client", daemon=True)
        self.door = Door(self, self._loop.wake)
        self.door.io_thread = self._thread

    # ---- for other threads

    def start(self) -> None:
        """Connect; `TimeoutError` without an answer in time, `ClientQuitException` if the scheduler turns it away."""
        _agents.add(self)
        self._thread.start()
        try:
            answered = self._answered.wait(self._timeout_seconds)
        except BaseException:
            self.disconnect()
            raise
        self.door.check_open()
        if not answered:
            self.disconnect()
            raise TimeoutError(f"no scheduler answered at {self.address} within {self._timeout_seconds} seconds")

    def submit(self, terms: Terms, packed: Packed, receiver: Receiver) -> int:
        """Submit a whole batch and return its id."""
        return self.door.add_batch(lambda batch_id: self._batch(batch_id, terms, packed, receiver))

    def cancel(self, batch_id: int, index: int) -> None:
        """Ask for the end of a task."""
        self.door.order(lambda: self._core.cancel(batch_id, index))

    def abandon(self, batch_ids: list[int]) -> None:
        """Give batches up."""
        self.door.order(lambda: self._core.abandon(batch_ids))

    def clear(self) -> None:
        """Cancel all tasks and wait for their end."""
        self.door.check_open()
        ended = threading.Event()
        self.door.order(lambda: self._begin_clearing(ended))
        while not ended.wait(self._beat_seconds) and not self.door.closed_reason:
            pass

    def run_callback(self, callback: Callable[[], object]) -> None:
        """Call a function of the user's, in a thread that may wait."""
        self._callbacks.run(callback)

    def shut_down(self) -> None:
        """Ask the scheduler to end and wait; `ValueError` if it refuses, `TimeoutError` if it does not answer."""
        self.door.check_open()
        self.door.order(lambda: self._connection.send(RequestShutdown()))
        answered = self._decided.wait(self._timeout_seconds)
        self.disconnect()
        if not answered:
            raise TimeoutError(f"the scheduler at {self.address} did not answer within {self._timeout_seconds} seconds")
        if self._refusal is not None:
            raise ValueError(self._refusal)

    def disconnect(self) -> None:
        """Cancel what is unfinished, leave the scheduler and end the thread. Does nothing the second time."""
        if self._forked:
            return
        self.door.order(lambda: self._end(_DISCONNECTED, None))
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)

    def drop(self) -> None:
        """Do the same without waiting and without a lock: the garbage collector found the client unused."""
        if not self._forked:
            self._dropped = True
            self._loop.wake()

    def leave_to_parent(self) -> None:
        """In a forked process: the thread and the connection are the parent's; nobody will complete the futures."""
        self._forked = True
        left = self.door.close_in_child(_FORKED)
        at_door = [FutureReceiver(batch.futures) for batch in left if isinstance(batch, OpenBatch)]
        for receiver in (*self._core.receivers(), *at_door):
            if isinstance(receiver, FutureReceiver):
                receiver.end_in_child(ClientQuitException(_FORKED))

    # ---- calls of the loop

    def on_event(self, event: SessionEvent, now: float) -> None:
        """Take in what the connection brought."""
        if isinstance(event, Incoming):
            self._on_message(event.message)
        elif isinstance(event, Up):
            self._core.on_up(event)
            self._answered.set()
            if event.registered.warning:
                self._warn("registered", event.registered.warning)
        elif isinstance(event, Rejected):
            reason = f"the scheduler at {self.address} refused this client: {event.reason}"
            self._end(reason, lambda: ClientQuitException(reason))

    def on_wake(self, now: float) -> None:
        """Take in what was left at the door, look at the time, queue what is to be sent."""
        if now - self._round_at > 2 * self._beat_seconds:
            self._awake_since = now  # stopped or starved: the silence was ours
        self._round_at = now
        if self._dropped:
            self._end(_DISCONNECTED, None)
        for left in self.door.take():
            self._bring(left)
        expiry = self.next_wakeup()
        if expiry is not None and expiry <= now:
            self._core.expire(self._heard_at, now, self._silence)
        for message in self._core.messages:
            self._connection.send(message)
        self._core.messages.clear()
        if self._core.waiting_bytes > MAX_WAITING_BYTES:
            self.door.room.clear()
        elif not self.door.room.is_set():
            self.door.room.set()
        if self._clearing:
            self._finish_clearing()

    def next_wakeup(self) -> float | None:
        """Return when the scheduler will have been silent for too long."""
        return self._core.next_expiry(self._heard_at)

    # ---- in the IO thread

    def _run(self) -> None:
        try:
            self._loop.run()
        except BaseException:  # noqa: BLE001 - nobody may wait for a thread that is gone
            _log.exception("the IO thread of a client ended")
            reason = "the client's IO thread ended by an error, see the log"
            self._end(reason, lambda: ClientCancelledException(reason))
        finally:
            self._connection.close("disconnected", _LINGER_SECONDS)
            self._context.term()

    def _bring(self, left: Left) -> None:
        try:
            if isinstance(left, Batch):
                self._core.submit(left, self._round_at)
            elif isinstance(left, OpenBatch):
                self._submit_calls(left)
            else:
                left()
        except Exception:  # noqa: BLE001 - one must not stop the others
            _log.exception("a call or an order could not be carried out")

    def _submit_calls(self, batch: OpenBatch) -> None:
        receiver = FutureReceiver(batch.futures)
        del batch.items[len(batch.futures) :]
        if not batch.items:
            return
        try:
            packed = pack_shared(batch.terms.encoding, batch.items)
        except Exception as error:  # noqa: BLE001 - calls that cannot be sent are their futures' failure
            reason = error
            receiver.failed(0, len(batch.futures), lambda: reason, 0.0)
            return
        self._core.submit(self._batch(batch.ticket.batch_id, batch.terms, packed, receiver), self._round_at)

    def _batch(self, batch_id: int, terms: Terms, packed: Packed, receiver: Receiver) -> Batch:
        return Batch(
            batch_id=batch_id,
            function=terms.function,
            packed=packed,
            serializer=self._serializer,
            receiver=receiver,
            priority=terms.priority,
            timed=terms.timed,
            capabilities=terms.capabilities,
        )

    def _on_message(self, message: Message) -> None:
        if isinstance(message, TaskResults):
            self._core.on_results(message)
        elif isinstance(message, Notice):
            self._warn(message.cause, message.text)
        elif isinstance(message, Shutdown):
            reason = f"the cluster was shut down: {message.reason}"
            self._end(reason, lambda: ClientShutdownException(reason))
        elif isinstance(message, ShutdownRefused):
            self._refusal = message.reason
            self._decided.set()
        else:
            _log.warning("dropped a message that is not for clients: %s", type(message).__name__)

    def _warn(self, cause: str, text: str) -> None:
        if cause not in self._noticed:
            self._noticed.add(cause)
            # without a registry: another client's hint of the same text is shown as well
            warnings.warn_explicit(text, SchedulerWarning, str(self.address), 0, module=__name__)

    def _end(self, reason: str, failure: Failure | None) -> None:
        """Give every task its end, also those still at the door, let none in, and stop the loop."""
        for left in self.door.close(reason):
            self._bring(left)
        self._core.close(failure)
        self._callbacks.close()
        for event in (self._answered, self._decided, self.door.room, *(ended for _, ended in self._clearing)):
            event.set()
        self._loop.stop()

    def _begin_clearing(self, ended: threading.Event) -> None:
        self._core.cancel_all()
        self._clearing.append((self._core.batch_ids(), ended))

    def _finish_clearing(self) -> None:
        left = self._core.batch_ids()
        for batch_ids, ended in self._clearing:
            if not batch_ids & left:
                ended.set()
        self._clearing = [clearing for clearing in self._clearing if not clearing[1].is_set()]

    @property
    def _heard_at(self) -> float:
        return max(self._connection.heard_at or 0.0, self._awake_since)

    def _silence(self) -> BaseException:
        return TimeoutError(f"the scheduler at {self.address} was silent for {self._timeout_seconds} seconds")


_agents: "weakref.WeakSet[Agent]" = weakref.WeakSet()


def _leave_to_parent() -> None:
    for agent in list(_agents):
        agent.leave_to_parent()


def _disconnect_all() -> None:
    for agent in list(_agents):
        agent.disconnect()


os.register_at_fork(after_in_child=_leave_to_parent)
atexit.register(_disconnect_all)
