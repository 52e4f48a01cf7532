"""A client's IO thread: brings what other threads left at the door to the core, and what the scheduler says.

The thread and its futures never refer to the `Client`, so that dropping the client ends them.
"""

import atexit
import logging
import os
import sys
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Sequence

from scaler_client import context
from scaler_client.batches import Batch, Receiver
from scaler_client.callbacks import CallbackThread
from scaler_client.calls import FutureReceiver, OpenBatch, Terms
from scaler_client.context import Home
from scaler_client.core import ClientCore
from scaler_client.door import Door, Left
from scaler_client.exceptions import (
    ClientCancelledException,
    ClientQuitException,
    ClientShutdownException,
    MissingObjects,
    SchedulerWarning,
)
from scaler_client.future import NO_PROFILE, ScalerFuture
from scaler_client.graph_call import GraphPart
from scaler_client.line import LineTerms, line_for
from scaler_client.outcomes import Failure
from scaler_client.output import Output
from scaler_client.packing import Packed, pack_shared
from scaler_client.serializer import Serializer
from scaler_client.sources import place_of
from scaler_protocol.addresses import Address
from scaler_protocol.messages import (
    HoldOutput,
    Message,
    Notice,
    RequestShutdown,
    Shutdown,
    ShutdownRefused,
    TaskOutput,
    TaskResults,
)
from scaler_runtime.session import Incoming, Rejected, SessionEvent, Up

MAX_WAITING_BYTES = 16 << 20
"""The door shows no room when so much of what was submitted has no credit yet."""

_JOIN_SECONDS = 5.0
_DISCONNECTED = "the client is disconnected"
_FORKED = "the client belongs to the process that this one was forked from"
_log = logging.getLogger(__name__)


class Agent:
    """See the module. `identity` names the client to the scheduler and to people."""

    def __init__(
        self,
        address: Address,
        serializer: Serializer,
        timeout_seconds: float,
        heartbeat_seconds: float,
        *,
        object_storage_address: Address | None = None,
        stream_output: bool = False,
        is_inside: bool = False,
    ) -> None:
        """`object_storage_address` overrides what the scheduler says. `ClientQuitException` in a task given up.

        `is_inside`: the address is that of the task around the client, whose connections may serve others after it.
        """
        home = context.home
        if home is not None and home.given_up:
            raise ClientQuitException(home.given_up)
        self.address = address
        self._serializer = serializer
        self._timeout_seconds = timeout_seconds
        self._beat_seconds = min(heartbeat_seconds, timeout_seconds / 3)
        self._told_storage = object_storage_address
        self._stream_output = stream_output
        self._callbacks = CallbackThread("scaler-callbacks")
        self._noticed: set[str] = set()
        self._clearing: list[tuple[set[int], threading.Event]] = []
        self._answered = threading.Event()  # it is up, or has ended
        self._refusal: str | None = None  # of a shutdown
        self._decided = threading.Event()  # a shutdown was refused, or it has ended
        self._dropped = False
        self._has_ended = False
        self._taken: deque[Left] = deque()  # from the door, and not brought to the core yet
        self._has_begun = False  # scheduler and object storage have answered
        self._forked = False
        self._home = home
        self._waits = False  # for tasks of its own, as its home was told
        self._round_at = time.monotonic()
        self._awake_since = self._round_at
        self._expiry_at: float | None = None  # no task expires before it, though maybe later; None: there was no task
        may_rest = is_inside and home is not None and object_storage_address is None and not stream_output
        self._line = line = line_for(LineTerms(address, self._beat_seconds, timeout_seconds, may_rest))
        self.client_id, self.identity = line.client_id, line.identity
        self._cleared = line.last_batch_id  # the last batch whose futures are not held any more
        self._connection, self._loop, self._thread = line.connection, line.loop, line.thread
        self.objects = line.objects
        self._core = ClientCore(timeout_seconds, self.objects, line.defined)
        if line.registered is not None:
            self._core.on_up(Up(fresh=False, registered=line.registered))
            self._answered.set()
        self._output = Output(self._loop.wake)
        self._is_holding = False  # what tasks write, as the scheduler was told
        self.door = Door(self, self._loop.wake, line.last_batch_id)
        self.door.io_thread = self._thread

    # ---- for other threads

    def start(self) -> None:
        """Connect to scheduler and object storage.

        `TimeoutError` if one does not answer in time, `ClientQuitException` if the scheduler turns this client away.
        """
        _agents.add(self)
        deadline = time.monotonic() + self._timeout_seconds
        was_up = self._answered.is_set()
        if not was_up:
            self.objects.use(self._told_storage)
        self._line.begin(self)
        self._left = self._line.left()
        if was_up:
            self._has_begun = True
            return
        try:
            if not self._answered.wait(self._timeout_seconds):
                text = f"no scheduler answered at {self.address} within {self._timeout_seconds} seconds"
                raise TimeoutError(text)  # noqa: TRY301
            self.door.check_open()
            self.objects.wait_until_ready(max(0.0, deadline - time.monotonic()))
        except BaseException:
            self.disconnect()
            raise
        self._has_begun = True

    def submit(self, terms: Terms, packed: Packed, receiver: Receiver) -> int:
        """Submit a whole batch and return its id."""
        return self.door.add_batch(lambda batch_id: self.batch(batch_id, terms, packed, receiver))

    def cancel(self, batch_id: int, index: int) -> None:
        """Ask for the end of a task."""
        self.door.order(lambda: self._core.cancel(batch_id, index))

    def submit_graph(self, count: int, make: Callable[[int], list[Batch]]) -> None:
        """Submit batches together: `make` makes them, given the first of `count` ids."""
        self.door.add_batches(count, make)

    def cancel_batches(self, batch_ids: Sequence[int]) -> None:
        """Ask for the end of all tasks of some batches."""
        self.door.order(lambda: self._core.cancel_batches(batch_ids))

    def fail_batches(self, batch_ids: Sequence[int], failure: Failure) -> None:
        """Fail what is unfinished of some batches, and give them up."""
        self.door.order(lambda: self._core.fail(batch_ids, failure))

    def check_future(self, future: ScalerFuture) -> None:
        """Raise `MissingObjects` for a future whose result this client does not hold, or not any more."""
        client_id, batch_id, _ = place_of(future)
        if client_id != self.client_id:
            raise MissingObjects("this client does not hold the result of a future: it is another client's")
        if batch_id <= self._cleared:
            raise MissingObjects("this client does not hold the result of a future any more: it was cleared")

    def abandon(self, batch_ids: list[int]) -> None:
        """Give batches up."""
        self.door.order(lambda: self._core.abandon(batch_ids))

    def clear(self) -> None:
        """Cancel all tasks and wait for their end; delete all objects that were sent."""
        self.door.check_open()
        self.objects.clear_sent()
        self._cleared = self.door.last_batch_id
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
        self._decided.set()
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
            self._left.wait(_JOIN_SECONDS)
            if self._line.is_ending:  # else it rests, or serves the next client
                self._thread.join(_JOIN_SECONDS)
            self._output.finish(_JOIN_SECONDS)

    def drop(self) -> None:
        """Do the same without waiting and without a lock: the garbage collector found the client unused."""
        if not self._forked:
            self._dropped = True
            self._loop.wake()

    def give_up(self, reason: str) -> None:
        """Fail all tasks without waiting, and take none until `door.held_reason` is empty."""
        if not self._forked:
            self.door.held_reason = reason
            self.door.order(lambda: self._core.fail_all(lambda: ClientQuitException(reason)))

    def leave_to_parent(self) -> None:
        """In a forked process: the thread and the connection are the parent's; nobody will complete the futures."""
        self._forked = True
        self.objects.leave_to_parent()
        left = self.door.close_in_child(_FORKED)
        at_door = [FutureReceiver(batch.futures) for batch in left if isinstance(batch, OpenBatch)]
        for receiver in (*self._core.receivers(), *at_door):
            if isinstance(receiver, (FutureReceiver, GraphPart)):
                receiver.end_in_child(ClientQuitException(_FORKED))

    # ---- calls of the loop

    def on_event(self, event: SessionEvent, now: float) -> None:
        """Take in what the connection brought."""
        if isinstance(event, Incoming):
            self._on_message(event.message)
        elif isinstance(event, Up):
            self._use_storage(event.registered.object_storage_address)
            self._core.on_up(event)
            self._is_holding = self._is_holding and not event.fresh
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
        self._taken = self.door.take()
        while self._taken:
            self._bring(self._taken.popleft())
        if self._output.has_begun:
            self._heed_output()
        if self._expiry_at is None or self._expiry_at <= now:
            self._look_for_expired(now)
        self.objects.delete_released()
        for message in self._core.messages:
            self._connection.send(message)
        self._core.messages.clear()
        if self._core.waiting_bytes > MAX_WAITING_BYTES:
            self.door.room.clear()
        elif not self.door.room.is_set():
            self.door.room.set()
        if self._clearing:
            self._finish_clearing()
        if self._home is not None:
            self._note_waiting(self._home)
        if sys.flags.dev_mode:
            self._core.check()

    def next_wakeup(self) -> float | None:
        """Return when the scheduler may have been silent for too long."""
        return self._expiry_at

    # ---- in the IO thread

    @property
    def closed_reason(self) -> str:
        """See `LineUser`."""
        return self.door.closed_reason

    def on_thread_failed(self) -> None:
        """See `LineUser`."""
        reason = "the client's IO thread ended by an error, see the log"
        self._end(reason, lambda: ClientCancelledException(reason))

    def _look_for_expired(self, now: float) -> None:
        """End tasks that have waited for too long. The next is looked for when one of those here now may be due."""
        expiry = self._core.next_expiry(self._heard_at)
        if expiry is not None and expiry <= now:
            self._core.expire(self._heard_at, now, self._silence)
            expiry = self._core.next_expiry(self._heard_at)
        self._expiry_at = expiry

    def _note_waiting(self, home: Home) -> None:
        """Tell the worker's process around this client whether the task in it has unfinished tasks of its own."""
        if self._waits is self._core.is_idle:
            self._waits = not self._waits
            home.note_waiting(1 if self._waits else -1)

    def _use_storage(self, announced: str) -> None:
        if self._told_storage is None:
            self.objects.use(Address.from_string(announced) if announced else None)

    def _bring(self, left: Left) -> None:
        try:
            if isinstance(left, OpenBatch):
                self._submit_calls(left)
            elif isinstance(left, Batch):
                self._core.submit(left, self._round_at)
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
            receiver.failed(0, len(batch.futures), lambda: reason, NO_PROFILE)
            return
        self._core.submit(self.batch(batch.ticket.batch_id, batch.terms, packed, receiver), self._round_at)

    def batch(self, batch_id: int, terms: Terms, packed: Packed, receiver: Receiver) -> Batch:
        """Return a batch of this client."""
        return Batch(
            batch_id=batch_id,
            function=terms.function,
            packed=packed,
            serializer=self._serializer,
            receiver=receiver,
            priority=terms.priority,
            timed=terms.timed,
            capabilities=terms.capabilities,
            stream_output=self._stream_output,
        )

    def _on_message(self, message: Message) -> None:
        if isinstance(message, TaskResults):
            if not self._output.delays(message):
                self._core.on_results(message)
        elif isinstance(message, TaskOutput):
            self._output.put(message.payload, is_error=message.is_error)
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

    def _heed_output(self) -> None:
        """Deliver outcomes whose tasks' output is written, and tell the scheduler whether writing keeps up."""
        for results in self._output.due():
            self._core.on_results(results)
        if self._output.is_slow != self._is_holding:
            self._is_holding = not self._is_holding
            self._connection.send(HoldOutput(b"", self._is_holding))

    def _warn(self, cause: str, text: str) -> None:
        if cause not in self._noticed:
            self._noticed.add(cause)
            # without a registry: another client's hint of the same text is shown as well
            warnings.warn_explicit(text, SchedulerWarning, str(self.address), 0, module=__name__)

    def _end(self, reason: str, failure: Failure | None) -> None:
        """Give every task its end, also those still at the door, let none in, and stop the loop."""
        if self._has_ended:
            return
        self._has_ended = True
        while self._taken:  # came before the last ones at the door
            self._bring(self._taken.popleft())
        for left in self.door.close(reason):
            self._bring(left)
        for results in self._output.due(at_once=True):
            self._core.on_results(results)
        self._output.close()
        in_order = failure is None and self._leaves_nothing()
        if not in_order:
            self._core.close(failure)
        self._callbacks.close()
        for event in (self._answered, self._decided, self.door.room, *(ended for _, ended in self._clearing)):
            event.set()
        if self._home is not None:
            self._note_waiting(self._home)
        self._line.leave(self, self.door.last_batch_id, in_order=in_order)

    def _leaves_nothing(self) -> bool:
        """Whether the next client could go on where this one leaves: neither here nor elsewhere is anything of it."""
        return (
            self._has_begun
            and self._core.is_idle
            and self._connection.session.is_up
            and not (self._core.has_abandoned or self.objects.has_stored or self._noticed or self._decided.is_set())
            and not self.door.held_reason
        )

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


def give_up_all(reason: str) -> None:
    """Fail all tasks of every client in this process, and let none in: nobody waits for what the task makes of them."""
    for agent in _living():
        agent.give_up(reason)


def go_on_all() -> None:
    """Let the clients of this process take tasks again: another task of its worker begins."""
    for agent in _living():
        agent.door.held_reason = ""


_agents: "weakref.WeakSet[Agent]" = weakref.WeakSet()


def _living() -> "list[Agent]":
    while True:
        try:
            return list(_agents)
        except RuntimeError:  # another thread has just made one
            continue


def _leave_to_parent() -> None:
    for agent in list(_agents):
        agent.leave_to_parent()


def _disconnect_all() -> None:
    for agent in list(_agents):
        agent.disconnect()


os.register_at_fork(after_in_child=_leave_to_parent)
atexit.register(_disconnect_all)
