"""What a user of the client may have to catch. All can be pickled: a task may raise what its own client raised."""


class ProcessorDiedError(Exception):
    """The process that ran the task ended by the task's own doing; never retried.

    One of `exit_code` and `signal_name` (as "SIGSEGV") is set where it is known; `stderr_tail` is the last it wrote.
    """

    exit_code: int | None
    signal_name: str | None
    stderr_tail: str

    def __init__(
        self,
        message: str = "",
        *,
        exit_code: int | None = None,
        signal_name: str | None = None,
        stderr_tail: str = "",
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.signal_name = signal_name
        self.stderr_tail = stderr_tail


class TaskExitedError(ProcessorDiedError):
    """The task left by `sys.exit` or KeyboardInterrupt; its worker goes on."""


class WorkerDiedError(Exception):
    """The task's worker was lost more often than the retry limit allows; the text has a line for each attempt."""


class TaskTimeoutError(TimeoutError):
    """The task ran longer than the worker's task timeout, which the text names."""


class SchedulerFullError(Exception):
    """The scheduler has as many waiting tasks as it accepts."""


class TaskSerializationError(Exception):
    """What the task ended with cannot be pickled; `original_repr` shows it, `remote_traceback` tells why."""

    original_repr: str
    remote_traceback: str

    def __init__(self, message: str = "", *, original_repr: str = "", remote_traceback: str = "") -> None:
        super().__init__(message)
        self.original_repr = original_repr
        self.remote_traceback = remote_traceback


class ResultNotSerializableError(TaskSerializationError, TypeError):
    """The task's result cannot be pickled."""


class TaskExceptionNotSerializableError(TaskSerializationError):
    """The exception that the task raised cannot be pickled."""


class DeserializeObjectError(Exception):
    """A function, argument, serializer or result cannot be restored where it is needed; the text has the traceback."""


class MissingObjects(Exception):
    """A reference or future that this client does not hold."""


class ClientQuitException(Exception):
    """The client has stopped: it was disconnected, belongs to another process, or was turned away."""


class ClientShutdownException(Exception):
    """The cluster was shut down while the task was pending."""


class ClientCancelledException(Exception):
    """The client's background loop was cancelled."""


class ObjectStorageException(Exception):
    """The object storage cannot be reached, or has lost an object."""


class TaskNotFoundError(Exception):
    """Reserved."""


class NoWorkerError(Exception):
    """Reserved."""


class DisconnectedError(Exception):
    """Reserved."""


class SchedulerWarning(UserWarning):
    """A hint of the scheduler's, issued once per client and cause."""
