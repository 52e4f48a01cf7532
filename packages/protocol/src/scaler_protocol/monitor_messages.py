"""What the scheduler tells monitors, as plain records; fields are explained in schema/monitor.capnp.

One way: a monitor answers nothing. Figures of workers are as old as the last report of their host.
"""

from dataclasses import dataclass

from scaler_protocol.messages import PRODUCT, PROTOCOL_VERSION


@dataclass(slots=True)
class Count:
    """A number with a name."""

    name: str
    count: int


@dataclass(slots=True)
class WorkerFigures:
    """One worker: where it runs, what it uses, what it holds. CPU is in percent of one core, memory in bytes."""

    worker_id: str
    group_id: str
    host_cpu: float
    host_rss: int
    cpu: float
    rss: int
    free_memory: int
    places: int
    outstanding: int
    queued: int
    suspended: int
    lag_seconds: float
    silent_seconds: float
    initialised: bool
    has_task: bool
    task_lock: bool


@dataclass(slots=True)
class MonitorReport:
    """Everything a monitor shows, at one moment."""

    cpu: float
    rss: int
    free_memory: int
    dropped: int
    ready: int
    functions: int
    function_bytes: int
    objects: int
    object_bytes: int
    tasks: list[Count]
    sent: list[Count]
    received: list[Count]
    clients: list[Count]
    workers: list[WorkerFigures]
    product: str = PRODUCT
    protocol_version: int = PROTOCOL_VERSION
