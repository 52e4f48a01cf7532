"""A worker process's conversation with the scheduler, on the IO thread: no sockets, no clock of its own.

Says hello, takes slices in, gives them back, sends what the main thread has finished.
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from scaler_protocol import messages as m
from scaler_protocol.batch import U32, U64, column, numbers
from scaler_runtime.session import Incoming, Rejected, SessionEvent, Up
from scaler_runtime.wakeups import earliest
from scaler_worker.executor import FLUSH_SECONDS
from scaler_worker.functions import Functions
from scaler_worker.held import end_of, held_slices
from scaler_worker.outcomes import Outcomes
from scaler_worker.output import MAX_UNSENT_BYTES as MAX_UNSENT_OUTPUT_BYTES
from scaler_worker.output import Output
from scaler_worker.workload import Piece, Workload

MAX_UNSENT_BYTES = 64 << 20
"""The main thread waits while more than this is not acknowledged by the scheduler."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class End:
    """Why the process shall end, and with which exit code."""

    code: int
    reason: str


class Agent:
    """See the module. The IO thread calls everything but `hand_over`."""

    def __init__(
        self,
        hello: m.WorkerHello,
        workload: Workload,
        outcomes: Outcomes,
        output: Output,
        *,
        send: Callable[[m.Message], None],
        wake: Callable[[], None],
        unacknowledged_bytes: Callable[[], int],
        heartbeat_seconds: float,
        death_timeout_seconds: float,
    ) -> None:
        self._hello = hello
        self._workload = workload
        self._outcomes = outcomes
        self._output = output
        self._send = send
        self._wake = wake
        self._unacknowledged_bytes = unacknowledged_bytes
        self._longest_nap_seconds = 2 * heartbeat_seconds + 1
        self._death_timeout_seconds = death_timeout_seconds
        self._functions = Functions()
        self._handlers: dict[type, Callable[[Any], None]] = {
            m.DefineFunction: self._on_function,
            m.ForgetFunctions: self._on_forget,
            m.AssignSlice: self._on_slice,
            m.RecallSlices: self._on_recall,
            m.HoldOutput: self._on_hold_output,
            m.Shutdown: self._on_shutdown,
        }
        self._answered = (0, 0)  # the slice of the last outcome that was sent, and the task after it
        self._room = threading.Event()
        self._room.set()
        self._heard_at: float | None = None
        self._awake_at: float | None = None
        self.registered: m.Registered | None = None
        """The scheduler's answer, once it has been heard."""
        self.end: End | None = None
        """Set when the process shall end."""
        self.flushed_at = 0.0
        """When results were sent last, by `time.monotonic`."""
        self.is_armed = False
        """Whether `next_wakeup` sees to it that finished results are sent in time."""

    def on_event(self, event: SessionEvent, now: float) -> None:
        """Take in what the connection brought."""
        if isinstance(event, Incoming):
            handler = self._handlers.get(type(event.message))
            if handler is None:
                _log.warning("ignored an unexpected %s", type(event.message).__name__)
            else:
                handler(event.message)
        elif isinstance(event, Up):
            self._on_up(event)
        elif isinstance(event, Rejected):
            self.end = End(1, f"the scheduler refuses this worker: {event.reason}")

    def on_wake(self, now: float, heard_at: float | None) -> None:
        """Send what is finished; notice that the scheduler, last heard at `heard_at`, has been silent for too long."""
        self.is_armed = False  # before looking: what the main thread adds from now on, it announces itself
        self._flush()
        unsent = self._unacknowledged_bytes()
        for written in self._output.turn(now, has_room=unsent <= MAX_UNSENT_OUTPUT_BYTES):
            self._send(written)
        self.flushed_at = now
        self.is_armed = self._outcomes.has_unsent or self._workload.has_neighbours()
        if unsent > MAX_UNSENT_BYTES:
            self._room.clear()
        elif not self._room.is_set():
            self._room.set()
        self._check_silence(now, heard_at)
        if sys.flags.dev_mode:
            self._workload.check()

    def next_wakeup(self) -> float | None:
        """Return when `on_wake` is wanted at the latest."""
        due = self._output.next_wakeup()
        if self._heard_at is not None:
            due = earliest(due, self._heard_at + self._death_timeout_seconds)
        return earliest(due, self.flushed_at + FLUSH_SECONDS) if self.is_armed else due

    def describe(self) -> Iterator[str]:
        """Return where it stands, a line at a time, for people."""
        yield f"armed {self.is_armed}, flushed at {self.flushed_at:.3f}, heard at {self._heard_at}, end {self.end}"
        yield f"outcomes that wait: {self._outcomes.size} bytes"
        yield from self._workload.describe()

    def hand_over(self) -> None:
        """Have results sent; wait, on the main thread, while the scheduler has too much to take in."""
        self._wake()
        if not self._room.is_set():
            self._room.wait()

    def _flush(self, send: Callable[[m.Message], None] | None = None) -> None:
        """Send outcomes, and before them what these tasks have written."""
        results = self._outcomes.take()
        for message in (*self._output.drain(), *results) if results else ():
            (send or self._send)(message)
        if results:
            self._answered = end_of(results[-1])

    def _check_silence(self, now: float, heard_at: float | None) -> None:
        """Count silence from the last word, or from the beginning, without the time that this process stood still."""
        if self._awake_at is None or self._heard_at is None:
            self._heard_at = now
        elif now - self._awake_at > self._longest_nap_seconds:
            self._heard_at += now - self._awake_at
        if heard_at is not None:
            self._heard_at = max(self._heard_at, heard_at)
        self._awake_at = now
        if now - self._heard_at >= self._death_timeout_seconds:
            self.end = End(1, f"nothing heard of the scheduler for {self._death_timeout_seconds:g} seconds")

    # ---- messages

    def _on_up(self, up: Up) -> None:
        if up.registered.warning:
            _log.warning("%s", up.registered.warning)
        self.registered = up.registered
        if up.fresh:
            self._start_anew(up.unheard)

    def _start_anew(self, unheard: list[m.Message]) -> None:
        """Greet a scheduler that knows nothing, and tell it what was finished unheard and what runs."""
        running = self._workload.keep_running()
        self._flush(unheard.append)
        said = [message for message in unheard if isinstance(message, m.TaskResults | m.TaskOutput)]
        self._functions.forget_all()
        self._output.hold_nothing()
        self._send(replace(self._hello, held=held_slices(said, running, self._answered)))
        for message in said:
            self._send(message)

    def _on_function(self, message: m.DefineFunction) -> None:
        self._functions.define(message.function_id, message.name, message.payload)

    def _on_forget(self, message: m.ForgetFunctions) -> None:
        self._functions.forget(message.function_ids)

    def _on_slice(self, assigned: m.AssignSlice) -> None:
        self._workload.put(Piece.of(assigned, self._functions.get(assigned.function_id)))

    def _on_recall(self, message: m.RecallSlices) -> None:
        """Answer with where each slice ends; what is finished leaves before the answer."""
        ids, limits = numbers(U64, message.slice_ids), numbers(U32, message.limits)
        ends = [(slice_id, self._workload.recall(slice_id, limit)) for slice_id, limit in zip(ids, limits, strict=True)]
        known = [(slice_id, end) for slice_id, end in ends if end is not None]
        self._flush()
        if known:
            slice_ids, limits = zip(*known, strict=True)
            self._send(m.SlicesReturned(column(U64, slice_ids), column(U32, limits)))

    def _on_hold_output(self, message: m.HoldOutput) -> None:
        self._output.hold(message.client_id, is_held=message.is_held)

    def _on_shutdown(self, message: m.Shutdown) -> None:
        self.end = End(1 if message.dismissed else 0, f"the scheduler ends this worker: {message.reason}")
