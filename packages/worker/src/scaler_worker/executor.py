"""Runs tasks, on the main thread: one slice after the other, in spans that share a block of arguments.

A trivial task costs some 80 nanoseconds beyond its call: the inner loops do nothing that can be done once a span. Nothing
that a task does by means of Python ends the process.
"""

import signal
from collections.abc import Callable, Sequence
from time import monotonic, perf_counter
from types import FrameType
from typing import Any, NoReturn, Protocol

from scaler_client import serializer as client_serializer
from scaler_client.context import set_context
from scaler_client.serializer import Serializer, are_atoms, dump_result, is_default, load_call, load_values
from scaler_protocol.batch import Encoding, Status
from scaler_worker.context import RunningContext
from scaler_worker.failures import failure, not_deserializable, not_serializable, result_answer
from scaler_worker.housekeeping import Housekeeping
from scaler_worker.outcomes import Outcomes
from scaler_worker.record import STARTED, STARTED_TASK, TASK, Record
from scaler_worker.workload import Piece, Workload

FLUSH_SECONDS = 0.01
"""Results are sent so long after they were finished at the latest, however long their neighbours take."""

FLUSH_BYTES = 1 << 20
_QUICK: frozenset[type] = frozenset({int, float, bool, type(None)})
_QUICK_LENGTH = 1024  # longer texts are not left to wait, uncounted, among the results

Append = Callable[[Any], None]
Loop = Callable[[int], None]
"""Runs the tasks of a span from the given one on; ends where the span or its slice ends, or a task raises."""


class Sender(Protocol):
    """What the executor needs of the conversation. Called from the main thread."""

    @property
    def flushed_at(self) -> float:
        """When results were sent last, by `time.monotonic`."""
        ...

    @property
    def is_armed(self) -> bool:
        """Whether it looks for results within `FLUSH_SECONDS` by itself."""
        ...

    def wake(self) -> None:
        """Have it look for results now."""
        ...

    def wait_for_room(self) -> None:
        """Wait while more waits to be sent than should."""
        ...


class Executor:
    """See the module."""

    def __init__(
        self,
        workload: Workload,
        outcomes: Outcomes,
        record: Record,
        context: RunningContext,
        sender: Sender,
        housekeeping: Housekeeping,
    ) -> None:
        self._workload = workload
        self._outcomes = outcomes
        self._record = record
        self._context = context
        self._sender = sender
        self._housekeeping = housekeeping
        self._is_interruptible = False

    def run(self) -> NoReturn:
        """Run what comes, for ever: the IO thread ends the process."""
        signal.signal(signal.SIGINT, self._on_interrupt)
        while True:
            piece = self._workload.take(self._housekeeping.patience(monotonic()))
            if piece is not None:
                self.run_piece(piece)
                self._housekeeping.note_work(monotonic())
            self._housekeeping.run_if_due(monotonic())

    def run_piece(self, piece: Piece) -> None:
        """Run a slice that `Workload.take` gave, to wherever it ends."""
        self._context.enter(piece)
        following = piece.assigned.start
        while not self._workload.finish(piece, following):
            following = self._run_span(piece, following)
            self._hand_over()

    def _hand_over(self) -> None:
        """Have results sent: when nothing else waits, when they are many, when time has passed or nobody looks at it."""
        sender = self._sender
        if (
            self._workload.is_empty
            or self._outcomes.size >= FLUSH_BYTES
            or not sender.is_armed
            or monotonic() - sender.flushed_at >= FLUSH_SECONDS
        ):
            sender.wake()
            sender.wait_for_room()

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """Interrupt a task, never the process's own work."""
        if self._is_interruptible:
            raise KeyboardInterrupt

    # ---- spans

    def _run_span(self, piece: Piece, first: int) -> int:
        """Run the tasks of one block, or of all blocks that are one task each; returns the task after the last."""
        outcomes = self._outcomes
        self._note_start(first)
        outcomes.begin(piece, first)
        set_context(self._context)
        stop = piece.assigned.stop if piece.is_calls else piece.block_of(first)[2]
        loop = self._prepare(piece, first, stop)
        while loop is not None and (task := outcomes.position()) < stop:
            try:
                self._is_interruptible = True
                loop(task)
                self._is_interruptible = False
                break
            except BaseException as error:  # noqa: BLE001 - whatever the task raises
                self._is_interruptible = False
                if outcomes.position() < stop:  # else Ctrl-C came after the last one
                    outcomes.add(*failure(error, _OWN_FILES))
        set_context(None)
        following = outcomes.position()
        outcomes.end()
        return following

    def _prepare(self, piece: Piece, first: int, stop: int) -> Loop | None:
        """Restore what the tasks need. Where that fails they are all answered, and there is nothing to run."""
        what = f"function {piece.function.name}"
        try:
            self._is_interruptible = True
            fn, serializer = piece.function.load()
            if piece.is_calls:
                loop = self._call_loop(piece, stop, fn, serializer)
            else:
                what = f"the arguments of function {piece.function.name}"
                block, start, _ = piece.block_of(first)
                loop = self._block_loop(piece, first, load_values(block)[first - start : stop - start], fn, serializer)
            self._is_interruptible = False
            return loop
        except BaseException:  # noqa: BLE001 - what the user's modules and objects raise, SystemExit too
            self._is_interruptible = False
            stop = self._workload.claim(piece, piece.assigned.stop if what.startswith("function") else stop)
            if stop > first:
                self._outcomes.add(*not_deserializable(what), count=stop - first)
            return None

    def _note_start(self, task: int) -> None:
        record = self._record
        record.numbers[TASK] = task
        record.seconds[STARTED] = monotonic()
        record.numbers[STARTED_TASK] = task

    # ---- loops: write what runs, read the limit (see workload.py), call, keep the result

    def _block_loop(
        self, piece: Piece, first: int, arguments: list[Any], fn: Callable[..., Any], serializer: Serializer
    ) -> Loop:
        if piece.assigned.encoding == Encoding.TUPLES:
            if piece.assigned.timed:
                return lambda task: self._timed(piece, task, [fn, *arguments[task - first :]], serializer)
            return lambda task: self._tuples(piece, task, arguments[task - first :], fn, serializer)
        if piece.assigned.timed:
            pairs = [(argument,) for argument in arguments]
            return lambda task: self._timed(piece, task, [fn, *pairs[task - first :]], serializer)
        return lambda task: self._values(piece, task, arguments[task - first :], fn, serializer)

    def _values(
        self, piece: Piece, task: int, arguments: list[Any], fn: Callable[..., Any], serializer: Serializer
    ) -> None:
        record, quick = self._record.numbers, _QUICK
        append = self._outcomes.values.append
        for argument in arguments:
            record[TASK] = task
            if task >= piece.limit:
                return
            result = fn(argument)
            kind = type(result)
            if kind in quick or (kind is str and len(result) <= _QUICK_LENGTH):
                append(result)
            else:
                append = self._keep(result, serializer)
            task += 1

    def _tuples(
        self, piece: Piece, task: int, arguments: list[Any], fn: Callable[..., Any], serializer: Serializer
    ) -> None:
        record, quick = self._record.numbers, _QUICK
        append = self._outcomes.values.append
        for argument in arguments:
            record[TASK] = task
            if task >= piece.limit:
                return
            result = fn(*argument)
            kind = type(result)
            if kind in quick or (kind is str and len(result) <= _QUICK_LENGTH):
                append(result)
            else:
                append = self._keep(result, serializer)
            task += 1
