"""The measures. Each takes a running system and returns one figure in the unit of its name."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from benchmarks import tasks
from benchmarks.systems.system import System, worker_pids

WORKERS = 2
IDLE_SECONDS = 4.0
SWEEP_SECONDS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Lengths of tasks for which efficiency is measured."""

_SWEEP_WORK_SECONDS = 1.0
_CPU_SECONDS = 1.0


@dataclass(frozen=True)
class Measure:
    """One row of the table. `better`: more or less; `target`: the ratio to the pool, or the figure, to reach."""

    name: str
    unit: str
    run: Callable[[System], float]
    better: str
    target: float | None = None
    is_ratio: bool = True
    only: tuple[str, ...] = ()
    """Which systems it is for; empty: all."""


def map_rate(count: int | None) -> Callable[[System], float]:
    """Tasks a second of one `map` over `count` ints, or as many as suit the system."""

    def run(system: System) -> float:
        number = count or system.tasks
        began = time.perf_counter()
        results = system.map(tasks.increment, range(number))
        seconds = time.perf_counter() - began
        if results != list(range(1, number + 1)):
            raise AssertionError(f"{system.name} returned wrong results")
        return number / seconds

    return run


def submit_rate(system: System) -> float:
    """Tasks a second of single submits, results included."""
    count = min(10_000, system.tasks)
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


def shared_array_seconds(system: System) -> float:
    """Seconds for 100 tasks that use one array of 64 MiB, from handing it over to the last result."""
    import numpy as np

    for future in [system.submit(tasks.size_of, np.ones(10)) for _ in range(20)]:
        future.result()  # every worker has imported numpy
    array = np.ones(64 << 20, dtype=np.uint8)
    began = time.perf_counter()
    shared = system.share(array)
    sizes = [future.result() for future in [system.submit(tasks.size_of, shared) for _ in range(100)]]
    seconds = time.perf_counter() - began
    if sizes != [array.nbytes] * 100:
        raise AssertionError(f"{system.name} returned wrong results")
    return seconds


def cpu_per_task(system: System) -> float:
    """Microseconds of CPU for each mapped trivial task, all processes together."""
    pids = {os.getpid(), *system.pids()}
    before, began, count = _cpu_seconds(pids), time.perf_counter(), 0
    while time.perf_counter() - began < _CPU_SECONDS:
        system.map(tasks.increment, range(system.tasks))
        count += system.tasks
    return (_cpu_seconds(pids) - before) / count * 1e6


def cpu_by_process(part: str) -> Callable[[System], float]:
    """Do the same for the client alone, for the workers, or for the rest: scheduler, storage, supervisors."""

    def run(system: System) -> float:
        count = 100 * system.tasks
        workers = worker_pids(system, WORKERS)
        parts = {"client": {os.getpid()}, "workers": workers, "rest": {*system.pids()} - workers}
        pids = parts[part]
        before = _cpu_seconds(pids)
        system.map(tasks.increment, range(count))
        return (_cpu_seconds(pids) - before) / count * 1e6

    return run


def idle_percent(system: System) -> float:
    """Percent of one core that the system's processes take while there is nothing to do."""
    time.sleep(1.0)  # what the last tasks left behind is not idleness
    pids = {os.getpid(), *system.pids()}
    before, began = _cpu_seconds(pids), time.perf_counter()
    time.sleep(IDLE_SECONDS)
    return (_cpu_seconds(pids) - before) / (time.perf_counter() - began) * 100


def worker_megabytes(system: System) -> float:
    """MiB (PSS) of a worker's process that has nothing to do."""
    return psutil.Process(system.submit(tasks.pid_after, 0.0).result()).memory_full_info().pss / (1 << 20)


def efficiency(seconds: float) -> Callable[[System], float]:
    """Useful work / (wall seconds x cores in use) for tasks of so many seconds each, handed over by one `map`."""

    def run(system: System) -> float:
        count = int(min(max(4, _SWEEP_WORK_SECONDS / seconds), 20 * system.tasks))
        began = time.perf_counter()
        system.map(tasks.spin, [seconds] * count)
        wall = time.perf_counter() - began
        return count * seconds / (wall * min(2, os.cpu_count() or 1))

    return run


def _cpu_seconds(pids: set[int]) -> float:
    processes = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(times.user + times.system for times in processes)


FAST = ("Scaler", "PPE chunksize=1024")
NOT_TUNED = ("Scaler", "PPE", "loky", "Dask", "Ray", "Scaler 1.15")

MEASURES = (
    Measure("idle worker, PSS", "MiB", worker_megabytes, "less", 8.0, is_ratio=False, only=NOT_TUNED),
    Measure("map of 1,000,000", "tasks/s", map_rate(1_000_000), "more", 200.0, only=FAST),
    Measure("map", "tasks/s", map_rate(None), "more", only=NOT_TUNED),
    Measure("single submits", "tasks/s", submit_rate, "more", 6.0, only=NOT_TUNED),
    Measure("latency p50", "ms", latency(50), "less", 1.5, only=NOT_TUNED),
    Measure("latency p99", "ms", latency(99), "less", only=NOT_TUNED),
    Measure("1 MiB in and out", "MiB/s", megabytes_rate, "more", 1.5, only=NOT_TUNED),
    Measure("CPU per mapped task", "us", cpu_per_task, "less", 2.0, is_ratio=False),
    Measure("CPU of the client per mapped task", "us", cpu_by_process("client"), "less", only=FAST[:1]),
    Measure("CPU of the workers per mapped task", "us", cpu_by_process("workers"), "less", only=FAST[:1]),
    Measure("CPU of the rest per mapped task", "us", cpu_by_process("rest"), "less", only=FAST[:1]),
    Measure("worker that has run all this, PSS", "MiB", worker_megabytes, "less", only=NOT_TUNED),
    Measure("idle stack", "% of a core", idle_percent, "less", 0.5, is_ratio=False, only=NOT_TUNED),
    # numpy would add to an idle worker's memory
    Measure(
        "64 MiB shared by 100",
        "s",
        shared_array_seconds,
        "less",
        0.1,
        is_ratio=False,
        only=NOT_TUNED[:1] + NOT_TUNED[3:],
    ),
)
SWEEP = tuple(
    Measure(f"efficiency {seconds:g}", "of the cores", efficiency(seconds), "more", only=NOT_TUNED)
    for seconds in SWEEP_SECONDS
)
