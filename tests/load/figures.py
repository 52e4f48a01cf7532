"""What the processes of a load take, at one moment."""

import contextlib
from dataclasses import dataclass

import psutil

from tests.integration.commands import Command
from tests.load.crowd import Crowd, zygotes

MIB = 1 << 20


@dataclass(frozen=True)
class Figures:
    """Memory is PSS (of shared pages each process's part) and RSS in MiB; `files` are open descriptors.

    Of the clients and adapters, which stay to the end, all together; of the workers, the mean.
    """

    seconds: float
    tasks: int
    workers: int
    objects: int
    object_mib: float
    scheduler_pss: float
    scheduler_rss: float
    scheduler_files: int
    storage_pss: float
    storage_rss: float
    storage_files: int
    clients_pss: float
    clients_rss: float
    clients_files: int
    hosts_pss: float
    hosts_rss: float
    hosts_files: int
    worker_pss: float
    worker_files: float


def take(crowd: Crowd, seconds: float) -> Figures:
    """Look at everybody."""
    objects, size = crowd.stored()
    hosts = [process for one in crowd.staying_adapters for process in (_process(one), *zygotes(one))]
    workers = [used for process in crowd.workers() if (used := _use(process))[1]]
    count = max(1, len(workers))
    return Figures(
        seconds,
        crowd.done(),
        len(workers),
        objects,
        size / MIB,
        *_use(_process(crowd.scheduler)),
        *_use(_process(crowd.storage)),
        *_sum(map(_process, crowd.staying_clients)),
        *_sum(hosts),
        worker_pss=sum(used[0] for used in workers) / count,
        worker_files=sum(used[2] for used in workers) / count,
    )


def _process(command: Command) -> psutil.Process:
    return psutil.Process(command.process.pid)


def _use(process: psutil.Process) -> tuple[float, float, int]:
    """Return PSS, RSS and descriptors; nothing of a process that has just ended."""
    with contextlib.suppress(psutil.Error):
        memory = process.memory_full_info()
        return memory.pss / MIB, memory.rss / MIB, process.num_fds()
    return 0.0, 0.0, 0


def _sum(processes) -> tuple[float, float, int]:
    used = list(map(_use, processes))
    return sum(one[0] for one in used), sum(one[1] for one in used), sum(one[2] for one in used)
