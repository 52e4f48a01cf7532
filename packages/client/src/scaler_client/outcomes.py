"""What the outcome of a run of tasks means: results, exceptions, cancelling. Reads bytes, knows no futures."""

import traceback
from collections.abc import Callable
from typing import Any, Protocol

from scaler_client.exceptions import (
    DeserializeObjectError,
    ProcessorDiedError,
    ResultNotSerializableError,
    SchedulerFullError,
    TaskExceptionNotSerializableError,
    TaskExitedError,
    TaskTimeoutError,
    WorkerDiedError,
)
from scaler_client.handles import Handle
from scaler_client.serializer import Serializer, load_failure, load_result, load_values
from scaler_client.stored_result import StoredResult
from scaler_protocol.batch import Status, split_died_text, unpack_stored

Failure = Callable[[], BaseException]
"""Makes the exception of one task, for each task a new one: raising changes an exception."""


class ResultStore(Protocol):
    """What is needed of a client's objects."""

    def keep(self, key: bytes, size: int) -> Handle:
        """Take over an object that a worker stored for this client."""
        ...

    def delete(self, keys: list[bytes]) -> None:
        """Delete objects that nobody keeps."""
        ...


def read_values(
    status: int, count: int, run: memoryview, serializer: Serializer, store: ResultStore
) -> list[Any] | Failure:
    """Return the results of a run that succeeded, or a failure where they cannot be restored here.

    One in the object storage is left there: a `StoredResult` stands for it.
    """
    try:
        if status == Status.VALUE:
            return [load_result(run, serializer)]
        if status == Status.VALUES:
            return _counted(load_values(run), count)
        size, key = unpack_stored(run)
        return [StoredResult(store.keep(key, size), serializer)]
    except BaseException:  # noqa: BLE001 - whatever the result's own methods raise, or a module that is missing here
        text = f"the result cannot be restored in the client:\n\n{traceback.format_exc()}"
        return lambda: DeserializeObjectError(text)


def read_failure(status: int, run: memoryview) -> Failure:
    """Return the failure of each task of a run that did not succeed and was not cancelled."""
    if status == Status.EXCEPTION:
        data = bytes(run)
        return lambda: load_failure(data)
    text = str(run, "utf-8", "replace")
    make = _FROM_TEXT[status]
    return lambda: make(text)


def _counted(values: list[Any], count: int) -> list[Any]:
    if type(values) is not list or len(values) != count:
        raise ValueError(f"{count} results were expected")
    return values


def _exited(text: str) -> BaseException:
    return _ended(TaskExitedError, text)


def _died(text: str) -> BaseException:
    text, tail = split_died_text(text)
    error = _ended(ProcessorDiedError, text)
    if tail:
        error.stderr_tail = tail
        error.add_note(f"The last that it wrote to its standard error:\n{tail}")
    return error


def _ended(kind: type[ProcessorDiedError], text: str) -> ProcessorDiedError:
    """Read a first line `exit_code=<n>` or `signal_name=<SIGNAME>`, where there is one."""
    first, _, rest = text.partition("\n")
    name, equals, value = first.partition("=")
    if equals and name == "exit_code" and value.lstrip("-").isdigit():
        return kind(rest, exit_code=int(value))
    if equals and name == "signal_name":
        return kind(rest, signal_name=value)
    return kind(text)


def _no_result(text: str) -> BaseException:
    shown, _, remote = text.partition("\n")
    message = f"the result {shown} cannot be pickled:\n\n{remote}"
    return ResultNotSerializableError(message, original_repr=shown, remote_traceback=remote)


def _no_exception(text: str) -> BaseException:
    shown, _, remote = text.partition("\n")
    message = f"the task raised {shown}, which cannot be pickled:\n\n{remote}"
    return TaskExceptionNotSerializableError(message, original_repr=shown, remote_traceback=remote)


_FROM_TEXT: dict[int, Callable[[str], BaseException]] = {
    Status.EXITED: _exited,
    Status.PROCESSOR_DIED: _died,
    Status.WORKER_DIED: WorkerDiedError,
    Status.NOT_DESERIALIZABLE: DeserializeObjectError,
    Status.RESULT_NOT_SERIALIZABLE: _no_result,
    Status.EXCEPTION_NOT_SERIALIZABLE: _no_exception,
    Status.TOO_LARGE: ValueError,
    Status.TIMED_OUT: TaskTimeoutError,
    Status.REFUSED: SchedulerFullError,
}
