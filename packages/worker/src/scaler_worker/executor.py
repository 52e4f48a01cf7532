"""Runs tasks, on the main thread: one slice after the other, in spans that share a block of arguments.

A trivial task costs some 80 nanoseconds with its call: the inner loops do nothing that can be done once a span.
Nothing that a task does by means of Python ends the process.
"""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from types import FrameType
from typing import Any, NoReturn, Protocol, cast

from scaler_client import serializer as client_serializer
from scaler_client.context import set_context
from scaler_client.exceptions import ObjectStorageException
from scaler_client.linked import Awaited, Made, load_linked
from scaler_client.serializer import DefaultSerializer, Serializer, dump_result, is_default, load_call, load_values
from scaler_client.stored import dump_apart
from scaler_object_storage.values import Parts
from scaler_protocol.batch import RESULTS, Encoding, Status, pack_stored
from scaler_runtime.wakeups import earliest
from scaler_worker import output
from scaler_worker.context import RunningContext
from scaler_worker.failures import Answer, failure, not_deserializable, not_serializable, result_answer
from scaler_worker.housekeeping import Housekeeping
from scaler_worker.outcomes import Outcomes
from scaler_worker.output import Output
from scaler_worker.profile import Profile
from scaler_worker.record import STARTED, STARTED_TASK, TASK, Record
from scaler_worker.storage import Storage
from scaler_worker.workload import Piece, Workload

FLUSH_SECONDS = 0.01
"""Results are sent so long after they were finished at the latest, however long their neighbours take."""

FLUSH_BYTES = 1 << 20
_QUICK: frozenset[type] = frozenset({int, float, bool, type(None)})
_QUICK_LENGTH = 1024  # longer texts are not left to wait, uncounted, among the results
_QUICK_ITEMS = 64
_MAX_NESTING = 3


@dataclass(slots=True)
class _Span:
    """Tasks of a slice that are run together. `arguments` are those of the tasks from `first` on, unless `is_calls`."""

    piece: Piece
    first: int
    stop: int
    fn: Callable[..., Any]
    serializer: Serializer
    arguments: list[Any]


Loop = Callable[[_Span, int], None]
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

    def hand_over(self) -> None:
        """Have it look for results now, and wait while more waits to be sent than should."""
        ...


class Executor:
    """See the module."""

    def __init__(
        self,
        workload: Workload,
        outcomes: Outcomes,
        record: Record,
        *,
        context: RunningContext,
        sender: Sender,
        housekeeping: Housekeeping,
        storage: Storage,
        output: Output,
    ) -> None:
        self._workload = workload
        self._outcomes = outcomes
        self._record = record
        self._context = context
        self._sender = sender
        self._housekeeping = housekeeping
        self._storage = storage
        self._output = output
        self._profile = Profile()
        self._is_interruptible = False
        self._piece: Piece | None = None
        outcomes.store_large = self._store_large

    def run(self) -> NoReturn:
        """Run what comes, for ever: the IO thread ends the process."""
        signal.signal(signal.SIGINT, self._on_interrupt)
        now = monotonic()
        while True:
            piece = self._workload.take(earliest(self._housekeeping.patience(now), self._storage.patience(now)))
            if piece is not None:
                self.run_piece(piece)
            now = monotonic()
            if piece is not None:
                self._housekeeping.note_work(now)
            self._housekeeping.run_if_due(now)
            self._storage.tidy(now)

    def run_piece(self, piece: Piece) -> None:
        """Run a slice that `Workload.take` gave, to wherever it ends."""
        self._context.enter(piece)
        self._piece = piece
        following = piece.assigned.start
        if piece.assigned.stream_output:
            self._output.enter(piece.assigned.client_id)
        while True:
            following = self._run_span(piece, following)
            self._hand_over()
            if self._workload.finish(piece, following):
                break
        self._output.leave()

    def _hand_over(self) -> None:
        """Have results sent: when nothing else waits, when they are many, or when it is time to."""
        sender = self._sender
        if (
            self._workload.is_empty
            or self._outcomes.size >= FLUSH_BYTES
            or not sender.is_armed
            or monotonic() - sender.flushed_at >= FLUSH_SECONDS
        ):
            sender.hand_over()

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
        span = self._prepare(piece, first)
        if span is not None:
            self._run_to_its_end(span, self._loop_for(piece))
        set_context(None)
        return outcomes.end()

    def _prepare(self, piece: Piece, first: int) -> _Span | None:
        """Restore what the tasks need. Where that fails they are all answered, and there is nothing to run."""
        what, stop = f"function {piece.function.name}", piece.assigned.stop
        try:
            self._is_interruptible = True
            fn, serializer = piece.function.load()
            arguments: list[Any] = []
            if not piece.is_calls:
                what = f"the arguments of {what}"
                block, start, stop = piece.block_of(first)
                arguments = load_values(block)[first - start : stop - start]
                if len(arguments) != stop - first:
                    raise ValueError(f"arguments of {len(arguments)} tasks, not of {stop - first}")  # noqa: TRY301
            self._is_interruptible = False
            if piece.assigned.stream_output:
                fn = self._output.streamed(fn)
            return _Span(piece, first, stop, fn, serializer, arguments)
        except BaseException:  # noqa: BLE001 - what the user's modules and objects raise, SystemExit too
            self._is_interruptible = False
            stop = self._workload.claim(piece, stop)
            if stop > first:
                self._outcomes.add(*not_deserializable(what), count=stop - first)
            return None

    def _loop_for(self, piece: Piece) -> Loop:
        if piece.is_calls:
            return self._run_calls
        if piece.assigned.timed:
            return self._run_timed
        return self._run_tuples if piece.assigned.encoding == Encoding.TUPLES else self._run_values

    def _run_to_its_end(self, span: _Span, loop: Loop) -> None:
        outcomes = self._outcomes
        while (task := outcomes.position()) < span.stop:
            try:
                self._is_interruptible = True
                loop(span, task)
                self._is_interruptible = False
                break
            except BaseException as error:  # noqa: BLE001 - whatever the task raises
                self._is_interruptible = False
                seconds = self._profile.stop()
                if outcomes.position() < span.stop:  # else Ctrl-C came after the last one
                    answer = failure(error, _OWN_FILES)
                    self._note_made(answer)
                    outcomes.add(*answer, seconds=seconds, usage=self._profile.take())

    def _note_start(self, task: int) -> None:
        record = self._record
        record.numbers[TASK] = task
        record.seconds[STARTED] = monotonic()
        record.numbers[STARTED_TASK] = task

    # ---- loops: write what runs, read the limit (see workload.py), call, keep the result

    def _run_values(self, span: _Span, task: int) -> None:
        record, quick, piece, fn = self._record.numbers, _QUICK, span.piece, span.fn
        append = self._outcomes.values.append
        for argument in span.arguments[task - span.first :]:
            record[TASK] = task
            if task >= piece.limit:
                return
            result = fn(argument)
            kind: type = type(result)  # pyright: ignore[reportUnknownVariableType]
            if kind in quick or (kind is str and len(result) <= _QUICK_LENGTH):
                append(result)
            else:
                self._keep(result, span.serializer)
                append = self._outcomes.values.append
            task += 1

    def _run_tuples(self, span: _Span, task: int) -> None:
        record, quick, piece, fn = self._record.numbers, _QUICK, span.piece, span.fn
        append = self._outcomes.values.append
        for arguments in span.arguments[task - span.first :]:
            record[TASK] = task
            if task >= piece.limit:
                return
            result = fn(*arguments)
            kind: type = type(result)  # pyright: ignore[reportUnknownVariableType]
            if kind in quick or (kind is str and len(result) <= _QUICK_LENGTH):
                append(result)
            else:
                self._keep(result, span.serializer)
                append = self._outcomes.values.append
            task += 1

    def _run_timed(self, span: _Span, task: int) -> None:
        """Run tasks of several to a block, each with its own duration."""
        are_tuples = span.piece.assigned.encoding == Encoding.TUPLES
        for argument in span.arguments[task - span.first :]:
            self._note_start(task)
            if task >= span.piece.limit:
                return
            self._profile.begin()
            result = span.fn(*argument) if are_tuples else span.fn(argument)
            self._keep_alone(result, span.serializer, self._profile.stop())
            task += 1

    def _run_calls(self, span: _Span, task: int) -> None:
        """Run tasks of one block each; results of atomic types share a pickle, if the serializer is the usual one."""
        timed, sharing = span.piece.assigned.timed, is_default(span.serializer)
        needed, made = span.piece.needed, span.piece.made
        for number in range(task, span.stop):
            self._note_start(number)
            if number >= span.piece.limit:
                return
            call = self._load_call(span, number)
            if call is None:
                continue
            if timed:
                self._profile.begin()
            result = span.fn(*call[0], **call[1])
            if timed or not sharing:
                self._keep_alone(result, span.serializer, self._profile.stop() if timed else None)
            elif type(result) in _QUICK:
                self._outcomes.values.append(result)
            else:
                self._keep(result, span.serializer)
            if number in needed and number not in made:
                made[number] = Made(result)

    def _load_call(self, span: _Span, task: int) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        try:
            block = span.piece.block_of(task)[0]
            if span.piece.assigned.encoding == Encoding.CALL:
                return load_call(block, span.serializer)
            awaited = span.piece.awaited_of(task)
            lost = _lost(awaited) if span.piece.needed else None
            if lost is not None:
                self._add((Status(lost.status), bytes(lost.run)))
                return None
            return load_linked(block, span.serializer, self._storage, awaited)
        except ObjectStorageException as error:
            self._add(failure(error, _OWN_FILES))
            return None
        except BaseException:  # noqa: BLE001 - what the user's modules and objects raise, SystemExit too
            self._is_interruptible = False
            self._add(not_deserializable(f"the arguments of function {span.piece.function.name}"))
            return None

    # ---- results that no inner loop takes care of

    def _keep(self, result: Any, serializer: Serializer) -> None:
        """Keep a result among the others if nobody can change it and it is short, else as an outcome of its own."""
        if _is_short_atom(result):
            self._outcomes.values.append(result)
        else:
            self._keep_alone(result, serializer)

    def _keep_alone(self, result: Any, serializer: Serializer, seconds: float | None = None) -> None:
        """Turn a result into bytes at once: later tasks may change the object."""
        try:
            stores = bool(self._storage.address)
            dumped = dump_apart(result, serializer) if stores else dump_result(result, serializer)
        except BaseException:  # noqa: BLE001 - whatever the object's own methods raise, SystemExit too
            self._is_interruptible = False
            self._add(not_serializable(result), seconds)
            return
        self._add(self._store(dumped) if isinstance(dumped, Parts) else result_answer(dumped), seconds)

    def _store(self, parts: Parts) -> Answer:
        """Put a large result into the object storage, in the name of the client that it is for."""
        self._is_interruptible = False
        return self._put(self._outcomes.key(), parts)

    def _put(self, key: bytes, parts: Parts) -> Answer:
        try:
            self._storage.put(key, self._outcomes.client_id, parts)
        except ObjectStorageException as error:
            return failure(error, _OWN_FILES)
        return Status.STORED, pack_stored(parts.size, key)

    def _store_large(self, task: int, value: object) -> Answer | None:
        """See `Outcomes.store_large`."""
        dumped = dump_apart(value, _USUAL) if self._storage.address else None
        return self._put(self._outcomes.key(task), dumped) if isinstance(dumped, Parts) else None

    def _add(self, answer: Answer, seconds: float | None = None) -> None:
        self._is_interruptible = False
        self._note_made(answer)
        self._outcomes.add(*answer, seconds=seconds, usage=self._profile.take())
        if self._outcomes.size >= FLUSH_BYTES:
            self._sender.hand_over()
        self._is_interruptible = True

    def _note_made(self, answer: Answer) -> None:
        """Keep the outcome of the next task if later ones of its slice need it."""
        piece, task = self._piece, self._outcomes.position()
        if piece is not None and task in piece.needed:
            piece.made[task] = Awaited(answer[0], 0, answer[1])


def _lost(awaited: Sequence[Awaited | Made]) -> Awaited | None:
    """Return what there is in the place of a result that was not made."""
    return next((one for one in awaited if isinstance(one, Awaited) and one.status not in RESULTS), None)


def _is_short_atom(value: object, nesting: int = _MAX_NESTING) -> bool:
    """Whether nobody can change the value, and it is short."""
    kind = type(value)
    if kind in _QUICK:
        return True
    if kind is str or kind is bytes:
        return len(cast("str", value)) <= _QUICK_LENGTH
    if kind is tuple and nesting:
        items = cast("tuple[object, ...]", value)
        return len(items) <= _QUICK_ITEMS and all(_is_short_atom(item, nesting - 1) for item in items)
    return False


_USUAL = DefaultSerializer()
_OWN_FILES = frozenset({__file__, client_serializer.__file__, output.__file__})
