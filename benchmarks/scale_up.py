"""From no worker to many, by the commands; prints figures as lines of JSON.

python -m benchmarks.scale_up SYSTEM WORKERS

Scaler and the reference take the same commands and calls; Dask scales by `adapt`.
"""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from benchmarks import tasks
from benchmarks.moments import say

TASKS_PER_WORKER = 25
NAP_SECONDS = 0.5
LONG_NAP_SECONDS = 3.0
FEW = 8
"""Up to so many workers each gets many tasks; more workers get one long task each, and their memory is measured."""


def main() -> None:
    """Measure and print."""
    system, workers = sys.argv[1], int(sys.argv[2])
    with _dask(workers) if system == "Dask" else _commands(system, workers) as (submit, processes):
        submit(tasks.increment, 1).result()  # everything is there and has been used once
        _wait_until_gone(processes)
        many = workers <= FEW
        megabytes: list[float] = []
        sampler = threading.Timer(LONG_NAP_SECONDS * 0.9, lambda: megabytes.append(_megabytes(processes())))
        if not many:
            sampler.start()
        began = time.monotonic()
        naps = [NAP_SECONDS] * (TASKS_PER_WORKER * workers) if many else [LONG_NAP_SECONDS] * workers
        starts = sorted(future.result() for future in [submit(tasks.nap, nap) for nap in naps])
        done = time.monotonic()
        for count in sorted({1, 2, 4, 8, 16, 32, 64, workers}):
            if count <= workers:
                # The n-th start before the first task has ended is the n-th worker's first.
                say(f"{count} of {workers} workers busy", "s", starts[count - 1] - began)
        if many:
            say(f"{len(naps)} tasks of {NAP_SECONDS:g} s done", "s", done - began)
        else:
            sampler.join()
            say(f"memory with {workers} workers, PSS", "MiB", megabytes[0])
        _wait_until_gone(processes)
        if many:
            say("workers gone after the last task", "s", time.monotonic() - done)


@contextlib.contextmanager
def _commands(system: str, workers: int):
    from scaler import Client

    folder = Path(sys.executable).parent
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    scaling = "vanilla" if system != "Scaler" or workers <= FEW else "vanilla(upper=1,cooldown=1)"
    policy = f"allocate=even_load; scaling={scaling}"
    commands = (
        [folder / "scaler_scheduler", address, "-pc", policy, "-ll", "ERROR"],
        [folder / "scaler_worker_adapter_native", address, "--max-workers", str(workers), "-ll", "ERROR"],
    )
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    adapter = psutil.Process(running[1].pid)

    def processes():
        return adapter.children(recursive=True)

    try:
        with Client(address) as client:
            yield client.submit, processes
    finally:
        for process in reversed(running):
            process.terminate()
        for process in reversed(running):
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def _dask(workers: int):
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        cluster.adapt(minimum=0, maximum=workers)
        own = psutil.Process()

        def processes():
            return own.children(recursive=True)

        yield lambda *call: client.submit(*call, pure=False), processes


def _wait_until_gone(processes) -> None:
    """Wait until there is no process but the one helper that an adapter, or Dask, keeps without any worker."""
    while len(processes()) > 1:
        time.sleep(0.02)


def _megabytes(processes) -> float:
    sizes = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            sizes.append(process.memory_full_info().pss)
    return sum(sizes) / (1 << 20)


if __name__ == "__main__":
    main()
