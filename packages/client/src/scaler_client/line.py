"""A client's connections, to the scheduler and to the object storage, and the thread that serves them.

Those of a client inside a task rest for a moment when it has left in good order: the next client of that process goes
on with them, since to make new ones takes longer than most tasks. The scheduler sees one client all the time.
"""

import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import Any, Final, Protocol

import zmq

from scaler_client import context
from scaler_client.defined import DefinedFunctions
from scaler_client.objects import Objects
from scaler_protocol.addresses import Address
from scaler_protocol.identifiers import new_id
from scaler_protocol.messages import Registered
from scaler_runtime.connection import Connection
from scaler_runtime.peer_loop import PeerLoop, PeerOwner
from scaler_runtime.session import Identity, SessionEvent, Up

REST_SECONDS: Final = 5.0

_LINGER_SECONDS = 1.0
_JOIN_SECONDS = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LineTerms:
    """What a line is made for. Equal terms, and one can take the place of the other."""

    address: Address
    beat_seconds: float
    timeout_seconds: float
    may_rest: bool = False


class LineUser(PeerOwner, Protocol):
    """The client that a line serves; all calls come from the line's thread."""

    @property
    def closed_reason(self) -> str:
        """Why it takes nothing any more, empty before."""
        ...

    def on_thread_failed(self) -> None:
        """The thread ends by an error, which was logged."""
        ...


class Line:
    """See the module. Serves its user from `begin` until that says `leave`."""

    def __init__(self, terms: LineTerms) -> None:
        self.terms = terms
        self.client_id = new_id()
        self.identity = b"Client|" + self.client_id.hex().encode()
        self.defined = DefinedFunctions()
        """What the scheduler has of the client, whoever uses the line."""
        self.last_batch_id = 0
        """Of those that have left."""
        self.registered: Registered | None = None
        """What the scheduler said last, None before it was up."""
        identity = Identity("client", self.identity.decode(), self.client_id)
        if context.home is not None:
            identity.parent_worker, identity.parent_incarnation = context.home.worker_id, context.home.incarnation
        self._context: zmq.Context[Any] = zmq.Context()
        self.connection = Connection(self._context, terms.address, identity, terms.beat_seconds)
        self.loop = PeerLoop(self.connection, self)
        self.objects = Objects(
            self._context,
            self.client_id,
            terms.timeout_seconds,
            name=self.identity.decode(),
            wake=self.loop.wake,
            closed_reason=self._closed_reason,
        )
        self.thread = threading.Thread(target=self._run, name="scaler-client", daemon=True)
        self._user: LineUser | None = None
        self._early: list[SessionEvent] = []  # came while it had no user
        self._rests_until = 0.0
        self._left = threading.Event()  # of the present user
        self.is_ending = False
        """Whether the thread ends, or has ended. Says how a user has left, once that has been told."""

    # ---- for its user

    def begin(self, user: LineUser) -> None:
        """Serve a client from now on."""
        self._left = threading.Event()
        self._user = user
        if self.thread.ident is None:
            self.thread.start()
        else:
            self.loop.wake()

    def leave(self, user: LineUser, last_batch_id: int, *, in_order: bool) -> None:
        """Serve a client no more; called in the line's thread. The line rests, or ends.

        `in_order`: nothing of the client is left, here or elsewhere.
        """
        if self.is_ending or self._user is not user:
            return
        self.last_batch_id = last_batch_id
        if in_order and self.terms.may_rest and self._rest():
            return
        self.is_ending = True
        self.loop.stop()

    def left(self) -> threading.Event:
        """Return what is set when the present user has left and its connections have ended, or rest."""
        return self._left

    # ---- calls of the loop

    def on_event(self, event: SessionEvent, now: float) -> None:
        """See `PeerOwner`."""
        if isinstance(event, Up):
            self.registered = event.registered
        user = self._user
        if user is None:
            self._early.append(event)
        else:
            if self._early:
                self._bring_early(user, now)
            user.on_event(event, now)

    def on_wake(self, now: float) -> None:
        """See `PeerOwner`."""
        user = self._user
        if user is not None:
            if self._early:
                self._bring_early(user, now)
            user.on_wake(now)
        elif self._early or now >= self._rests_until:
            self._end_rest(now)

    def next_wakeup(self) -> float | None:
        """See `PeerOwner`."""
        user = self._user
        return self._rests_until if user is None else user.next_wakeup()

    # ---- within

    def _run(self) -> None:
        left = self._left
        try:
            self.loop.run()
        except BaseException:  # noqa: BLE001 - nobody may wait for a thread that is gone
            _log.exception("the IO thread of a client ended")
            _resting.forget(self)
            if self._user is not None:
                self._user.on_thread_failed()
        finally:
            self.connection.close("disconnected", _LINGER_SECONDS)
            self.objects.close()
            self._context.term()
            self._left.set()
            left.set()

    def _closed_reason(self) -> str:
        user = self._user
        return "" if user is None else user.closed_reason

    def _bring_early(self, user: LineUser, now: float) -> None:
        while self._early:
            user.on_event(self._early.pop(0), now)

    def _rest(self) -> bool:
        """Wait for the next client, unless another line does."""
        with _resting.lock:
            if _resting.line is not None:
                return False
            left = self._left  # before anybody can take the line
            self._rests_until = time.monotonic() + REST_SECONDS
            self._user = None
            _resting.line = self
        left.set()
        return True

    def _end_rest(self, now: float) -> None:
        """Nobody came, or something has happened that no client waits for; unless somebody comes just now."""
        with _resting.lock:
            if _resting.line is not self:
                self._rests_until = now + REST_SECONDS
                return
            _resting.line = None
        self.is_ending = True
        self.loop.stop()


class _Resting:
    """The line of this process that rests, if one does."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.line: Line | None = None

    def take(self, terms: LineTerms) -> Line | None:
        with self.lock:
            line = self.line
            if line is None or line.terms != terms:
                return None
            self.line = None
            return line

    def forget(self, line: Line) -> None:
        """Let nobody have a line whose thread has ended."""
        with self.lock:
            if self.line is line:
                self.line = None

    def leave_to_parent(self) -> None:
        """In a forked process: the thread and the connections are the parent's."""
        self.lock = threading.Lock()
        if self.line is not None:
            self.line.objects.leave_to_parent()
        self.line = None


_resting = _Resting()


def line_for(terms: LineTerms) -> Line:
    """Return the line that rests, if it fits, or a new one."""
    return (_resting.take(terms) if terms.may_rest else None) or Line(terms)


os.register_at_fork(after_in_child=lambda: _resting.leave_to_parent())  # noqa: PLW0108 - tests replace it
