"""The standard library's pool, as it comes."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import psutil


class ProcessPool:
    """`concurrent.futures.ProcessPoolExecutor`, forked, with `chunksize=1` unless told otherwise."""

    def __init__(self, workers: int, chunksize: int = 1) -> None:
        self.name = "PPE" if chunksize == 1 else f"PPE chunksize={chunksize}"
        self._chunksize = chunksize
        self._pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"))

    def map(self, function, items):
        return list(self._pool.map(function, items, chunksize=self._chunksize))

    def submit(self, function, *arguments):
        return self._pool.submit(function, *arguments)

    def pids(self):
        return [child.pid for child in psutil.Process().children(recursive=True)]

    def close(self):
        self._pool.shutdown()
