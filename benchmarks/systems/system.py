"""What every compared system can do, and which there are."""

import importlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from benchmarks import tasks

MODULES = {
    "Scaler": "scaler_combo:ScalerCombo",
    "PPE": "process_pool:ProcessPool",
    "PPE chunksize=1024": "process_pool:TunedPool",
    "loky": "loky_pool:LokyPool",
    "Dask": "dask_cluster:DaskCluster",
    "Ray": "ray_cluster:RayCluster",
    "Scaler 1.15": "reference:ReferenceCombo",
}
"""Where each is found; only the environment that it is measured in can import it."""


class Submitted(Protocol):
    """A future of whatever kind."""

    def result(self) -> Any:
        """Wait for the result."""
        ...


class System(Protocol):
    """A running system with a fixed number of workers."""

    name: str
    tasks: int
    """How many trivial tasks make a measure of about a second."""

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
        """Run the function on each item, without any tuning by the caller."""
        ...

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Submitted:
        """Run one call."""
        ...

    def share(self, value: Any) -> Any:
        """Return what stands for a value in many submits, as the system advises; the value itself where it has none."""
        ...

    def pids(self) -> list[int]:
        """Return the processes that belong to it, the caller's apart."""
        ...

    def close(self) -> None:
        """End it."""
        ...


def worker_pids(system: System, workers: int) -> set[int]:
    """Wait until every worker has run something; return their processes."""
    pids: set[int] = set()
    while len(pids) < workers:
        pids |= {future.result() for future in [system.submit(tasks.pid_after, 0.05) for _ in range(workers)]}
    return pids


def start(name: str, workers: int) -> System:
    """Import and start a system."""
    module, _, kind = MODULES[name].partition(":")
    return getattr(importlib.import_module(f"benchmarks.systems.{module}"), kind)(workers)
