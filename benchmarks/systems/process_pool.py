"""The standard library's pool, as it comes, and with a chunksize that suits trivial tasks."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import psutil


class ProcessPool:
    """`concurrent.futures.ProcessPoolExecutor`, forked, with `chunksize=1`."""

    name = "PPE"
    tasks = 10_000
    chunksize = 1

    def __init__(self, workers):
        self._pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"))

    def map(self, function, items):
        return list(self._pool.map(function, items, chunksize=self.chunksize))

    def submit(self, function, *arguments):
        return self._pool.submit(function, *arguments)

    def share(self, value):
        return value

    def pids(self):
        return [child.pid for child in psutil.Process().children(recursive=True)]

    def close(self):
        self._pool.shutdown()


class TunedPool(ProcessPool):
    """The same with the knob turned."""

    name = "PPE chunksize=1024"
    tasks = 1_000_000
    chunksize = 1024
