"""What a running task knows of its place. The worker sets it before a task and clears it after; clients read it."""

from dataclasses import dataclass

from scaler_protocol.identifiers import content_id


@dataclass(slots=True)
class TaskContext:
    """The task that runs in this process. `object_storage_address` is empty where there is none."""

    scheduler_address: str
    priority: int
    task_id: bytes
    object_storage_address: str = ""


@dataclass(slots=True)
class Home:
    """The worker's process that this one is. Clients in it say so: a task that waits for others lends its slot."""

    worker_id: str
    incarnation: int
    given_up: str = ""
    """Why nobody waits for the running task any more: new clients would only hold its worker up."""


home: Home | None = None
"""None outside workers."""

current: TaskContext | None = None
"""None outside a task. One for the process: threads that a task starts belong to the task."""


def get() -> TaskContext | None:
    """Return the context of the running task, None outside one."""
    return current


def set_context(context: TaskContext | None) -> None:
    """Say which task runs from now on."""
    global current  # noqa: PLW0603 - a process runs one task at a time
    current = context


def set_home(place: Home | None) -> None:
    """Say which worker's process this is."""
    global home  # noqa: PLW0603 - a process is one worker's
    home = place


def priority() -> int:
    """Return the priority of tasks submitted here: one more than that of the task around them."""
    return 0 if current is None else current.priority + 1


def task_id_of(client_id: bytes, batch_id: int, index: int) -> bytes:
    """Return the 16 bytes that name a task to its user, the same at the client and in the worker."""
    return content_id(b"%b%b%b" % (client_id, batch_id.to_bytes(8, "little"), index.to_bytes(4, "little")))
