"""The columns of the table of workers, the keys that sort by them, and the order chosen."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from scaler_protocol.monitor_messages import WorkerFigures
from scaler_scheduler.top import figures


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a worker."""

    title: str
    key: str
    """Sorts by it; empty where nothing does."""
    rank: Callable[[WorkerFigures], Any]
    text: Callable[[WorkerFigures], str]
    is_name: bool = False
    """Shown from the left, and sorted from a to z first."""


def _column(title: str, key: str, attribute: str, write: Callable[[Any], str], *, is_name: bool = False) -> Column:
    value = attrgetter(attribute)
    return Column(title, key, value, lambda worker: write(value(worker)), is_name)


COLUMNS = (
    _column("group", "g", "group_id", figures.name, is_name=True),
    _column("worker", "n", "worker_id", figures.name, is_name=True),
    _column("agt_cpu", "C", "host_cpu", figures.percent),
    _column("agt_rss", "M", "host_rss", figures.size),
    _column("cpu", "c", "cpu", figures.percent),
    _column("rss", "m", "rss", figures.size),
    _column("os_rss_free", "F", "free_memory", figures.size),
    _column("free", "f", "places", figures.count),
    _column("sent", "w", "outstanding", figures.count),
    _column("queued", "d", "queued", figures.count),
    _column("suspended", "s", "suspended", figures.count),
    Column(
        "lag",
        "l",
        lambda worker: (
            worker.silent_seconds if worker.silent_seconds > figures.SILENCE_SHOWN_SECONDS else 0.0,
            worker.lag_seconds,
        ),
        lambda worker: figures.lag(worker.lag_seconds, worker.silent_seconds),
    ),
    Column(
        "ITL",
        "",
        lambda worker: (worker.initialised, worker.has_task, worker.task_lock),
        lambda worker: f"{worker.initialised:d}{worker.has_task:d}{worker.task_lock:d}",
    ),
)
_BY_KEY = {column.key: column for column in COLUMNS if column.key}


@dataclass(frozen=True, slots=True)
class Order:
    """By which column the workers are sorted; numbers begin with the highest, names with a, unless `is_reversed`."""

    key: str = "c"
    is_reversed: bool = False

    @property
    def column(self) -> Column:
        """The column that decides."""
        return _BY_KEY[self.key]

    def pressed(self, key: str) -> "Order":
        """Return the order after a key was pressed: by its column, or reversed; as before for keys without one."""
        if key == self.key:
            return replace(self, is_reversed=not self.is_reversed)
        return Order(key) if key in _BY_KEY else self

    def sort(self, workers: Iterable[WorkerFigures]) -> list[WorkerFigures]:
        """Return the workers in this order; equals by their ids, so that rows do not jump."""
        by_name = sorted(workers, key=attrgetter("worker_id"))
        return sorted(by_name, key=self.column.rank, reverse=self.column.is_name == self.is_reversed)
