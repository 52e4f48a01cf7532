"""What a running task knows of its place. The worker sets it before a task and clears it after; clients read it."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

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
    waiting: int = 0
    """Clients in it that have unfinished tasks: while there are any, its task is suspended."""
    on_waiting: Callable[[int], None] | None = None
    """Told `waiting` whenever it changes."""
    pid: int = field(default_factory=os.getpid)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell_waiting(self, on_waiting: Callable[[int], None]) -> None:
        """Have a function told how many clients have unfinished tasks, now and at every change."""
        with self._lock:
            self.on_waiting = on_waiting
            on_waiting(self.waiting)

    def note_waiting(self, change: int) -> None:
        """Count a client that has unfinished tasks now, or none any more; in a forked process nobody hears of it."""
        if self.pid != os.getpid():
            return
        with self._lock:
            self.waiting += change
            if self.on_waiting is not None:
                self.on_waiting(self.waiting)


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
