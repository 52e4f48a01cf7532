"""From no worker to many: how long until each is at work, and until they are gone."""

import subprocess
import sys
import time

import psutil
from rich.table import Table

from benchmarks import tasks
from scaler import Client

NAP_SECONDS = 0.5
TASKS = 200


def scale_up(workers: int) -> Table:
    """Run 200 tasks of 0.5 s through the commands, vanilla scaling and a native adapter; return times in seconds."""
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "scaler_scheduler", "tcp://127.0.0.1:0", "-pc", "allocate=even_load; scaling=vanilla"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert scheduler.stdout is not None
    address = next(line.split()[-1] for line in scheduler.stdout if "scheduler listening on" in line)
    adapter = subprocess.Popen(
        [sys.executable, "-m", "scaler_adapter_native", address, "--max-workers", str(workers), "-ll", "ERROR"]
    )
    table = Table("run", *(f"{n} busy" for n in _steps(workers)), "all done", "gone after", title="scale-up, s")
    try:
        with Client(address) as client:
            client.submit(abs, 1).result()  # the adapter is there
            for run in ("first", "from zero again"):
                _wait_for_workers(adapter.pid, 0)
                table.add_row(run, *_one_run(client, adapter.pid, workers))
    finally:
        for process in (adapter, scheduler):
            process.terminate()
            process.wait()
    return table


def _one_run(client: Client, adapter_pid: int, workers: int) -> list[str]:
    began = time.monotonic()
    futures = [client.submit(tasks.nap, NAP_SECONDS) for _ in range(TASKS)]
    starts = sorted(future.result() for future in futures)
    done = time.monotonic()
    _wait_for_workers(adapter_pid, 0)
    gone = time.monotonic()
    # The n-th start before the first task has ended is the n-th worker's first.
    busy = [f"{starts[n - 1] - began:.3f}" for n in _steps(workers)]
    return [*busy, f"{done - began:.2f}", f"{gone - done:.2f}"]


def _wait_for_workers(adapter_pid: int, count: int) -> None:
    """Wait until the adapter's zygote has so many children."""
    while sum(len(child.children()) for child in psutil.Process(adapter_pid).children()) != count:
        time.sleep(0.02)


def _steps(workers: int) -> list[int]:
    return [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= workers]
