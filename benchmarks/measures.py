"""The measures. Each takes a running system and returns one figure in the unit of its name."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from benchmarks import tasks
from benchmarks.systems.system import System


@dataclass(frozen=True)
class Measure:
    """One row of the table. `better`: more or less; `target`: the ratio to the pool to reach, in that direction."""

    name: str
    unit: str
    run: Callable[[System], float]
    better: str
    target: float | None = None


def map_rate(count: int) -> Callable[[System], float]:
    """Tasks a second of one `map` over `count` ints."""

    def run(system: System) -> float:
        began = time.perf_counter()
        results = system.map(tasks.increment, range(count))
        seconds = time.perf_counter() - began
        if results != list(range(1, count + 1)):
            raise AssertionError(f"{system.name} returned wrong results")
        return count / seconds

    return run


def submit_rate(system: System) -> float:
    """Tasks a second of 10,000 single submits, results included."""
    count = 10_000
    began = time.perf_counter()
    futures = [system.submit(tasks.increment, number) for number in range(count)]
    results = [future.result() for future in futures]
    seconds = time.perf_counter() - began
    if results != list(range(1, count + 1)):
        raise AssertionError(f"{system.name} returned wrong results")
    return count / seconds


def latency(quantile: int) -> Callable[[System], float]:
    """Milliseconds from submit to result, one at a time: the given percentile of 500."""

    def run(system: System) -> float:
        samples: list[float] = []
        for number in range(500):
            began = time.perf_counter()
            system.submit(tasks.increment, number).result()
            samples.append(time.perf_counter() - began)
        return statistics.quantiles(samples, n=100)[quantile - 1] * 1000

    return run


def megabytes_rate(system: System) -> float:
    """MiB a second, both ways added, of 100 tasks with 1 MiB in and 1 MiB out."""
    payloads = [os.urandom(1 << 20) for _ in range(100)]
    began = time.perf_counter()
    results = [future.result() for future in [system.submit(tasks.echo, payload) for payload in payloads]]
    seconds = time.perf_counter() - began
    if results != payloads:
        raise AssertionError(f"{system.name} returned wrong results")
    return 200 / seconds


def cpu_per_task(system: System) -> float:
    """Microseconds of CPU for each of 100,000 mapped trivial tasks, all processes together."""
    count = 100_000
    before = _cpu_seconds(system)
    system.map(tasks.increment, range(count))
    return (_cpu_seconds(system) - before) / count * 1e6


def _cpu_seconds(system: System) -> float:
    processes = [psutil.Process(pid).cpu_times() for pid in (os.getpid(), *system.pids())]
    return sum(times.user + times.system for times in processes)


MEASURES = (
    Measure("map of 1,000,000", "tasks/s", map_rate(1_000_000), "more", 200.0),
    Measure("map of 10,000", "tasks/s", map_rate(10_000), "more"),
    Measure("10,000 submits", "tasks/s", submit_rate, "more", 6.0),
    Measure("latency p50", "ms", latency(50), "less", 1.5),
    Measure("latency p99", "ms", latency(99), "less"),
    Measure("1 MiB in and out", "MiB/s", megabytes_rate, "more", 1.5),
    Measure("CPU per mapped task", "us", cpu_per_task, "less"),
)
