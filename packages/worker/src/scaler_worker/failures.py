"""What a task that gave no result is answered with: a status, and the bytes that protocol/batch.py says go with it."""

import reprlib
import traceback
from types import TracebackType

from scaler_client.serializer import dump_failure
from scaler_protocol.batch import MAX_INLINE_BYTES, Status

Answer = tuple[Status, bytes]
_REPR_LENGTH = 500


def failure(error: BaseException, own_files: frozenset[str]) -> Answer:
    """Answer for a task that raised. Frames at the top that belong to `own_files` are left out of the traceback."""
    error.__traceback__ = _without(error.__traceback__, own_files)
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        return Status.EXITED, _exit_text(error).encode(errors="replace")
    try:
        payload = dump_failure(error)
    except BaseException:  # noqa: BLE001 - whatever the exception's own methods raise, SystemExit too
        text = f"{_one_line(error)}\n{''.join(traceback.format_exception(error))}"
        return Status.EXCEPTION_NOT_SERIALIZABLE, text.encode(errors="replace")
    return (Status.EXCEPTION, payload) if len(payload) <= MAX_INLINE_BYTES else _too_large(len(payload), "exception")


def not_deserializable(what: str) -> Answer:
    """Answer for tasks whose function or arguments could not be restored; called while that is handled."""
    text = f"{what} cannot be restored in the worker:\n\n{traceback.format_exc()}"
    return Status.NOT_DESERIALIZABLE, text.encode(errors="replace")


def not_serializable(result: object) -> Answer:
    """Answer for a task whose result cannot be pickled; called while that is handled."""
    return Status.RESULT_NOT_SERIALIZABLE, f"{_one_line(result)}\n{traceback.format_exc()}".encode(errors="replace")


def result_answer(payload: bytes) -> Answer:
    """Answer with a pickled result, unless it is too large."""
    return (Status.VALUE, payload) if len(payload) <= MAX_INLINE_BYTES else _too_large(len(payload), "result")


def too_large(size: int, what: str = "result") -> bytes:
    """Return the text of `Status.TOO_LARGE`."""
    return (
        f"the task's {what} takes {size} bytes, more than the {MAX_INLINE_BYTES} that travel in one piece: "
        "return less at once, for example from several tasks, or write it to a file and return the file's name"
    ).encode()


def _too_large(size: int, what: str) -> Answer:
    return Status.TOO_LARGE, too_large(size, what)


def _without(trace: TracebackType | None, own_files: frozenset[str]) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename in own_files:
        trace = trace.tb_next
    return trace


def _exit_text(error: SystemExit | KeyboardInterrupt) -> str:
    """Return the exit code that a program would have had, and what happened."""
    if isinstance(error, KeyboardInterrupt):
        return "exit_code=130\nthe task was left by KeyboardInterrupt"
    if error.code is None or isinstance(error.code, int):
        return f"exit_code={error.code or 0}\nthe task was left by sys.exit({'' if error.code is None else error.code})"
    return f"exit_code=1\nthe task was left by sys.exit: {error.code}"


def _one_line(value: object) -> str:
    shortener = reprlib.Repr()
    shortener.maxother = shortener.maxstring = shortener.maxlong = _REPR_LENGTH
    try:
        text = shortener.repr(value)
    except BaseException as error:  # noqa: BLE001 - the object's own repr
        text = f"<{type(value).__qualname__}, whose repr raises {type(error).__name__}>"
    return " ".join(text.split())
