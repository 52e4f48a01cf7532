"""All exceptions of the client."""

from scaler._packages import installed

with installed(__name__):
    from scaler_client.exceptions import (
        ClientCancelledException,
        ClientQuitException,
        ClientShutdownException,
        DeserializeObjectError,
        DisconnectedError,
        MissingObjects,
        NoWorkerError,
        ObjectStorageException,
        ProcessorDiedError,
        ResultNotSerializableError,
        SchedulerFullError,
        SchedulerWarning,
        TaskExceptionNotSerializableError,
        TaskExitedError,
        TaskNotFoundError,
        TaskSerializationError,
        TaskTimeoutError,
        WorkerDiedError,
    )

__all__ = [
    "ClientCancelledException",
    "ClientQuitException",
    "ClientShutdownException",
    "DeserializeObjectError",
    "DisconnectedError",
    "MissingObjects",
    "NoWorkerError",
    "ObjectStorageException",
    "ProcessorDiedError",
    "ResultNotSerializableError",
    "SchedulerFullError",
    "SchedulerWarning",
    "TaskExceptionNotSerializableError",
    "TaskExitedError",
    "TaskNotFoundError",
    "TaskSerializationError",
    "TaskTimeoutError",
    "WorkerDiedError",
]
