"""Dask distributed on this machine."""

import dask
import psutil
from distributed import Client, LocalCluster


class DaskCluster:
    """A local cluster of processes with one thread each."""

    name = "Dask"
    tasks = 1_000

    def __init__(self, workers):
        dask.config.set({"distributed.worker.memory.terminate": False})
        self._cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        self._client = Client(self._cluster)

    def map(self, function, items):
        return self._client.gather(self._client.map(function, items, pure=False))

    def submit(self, function, *arguments):
        return self._client.submit(function, *arguments, pure=False)

    def share(self, value):
        return self._client.scatter(value, hash=False)

    def pids(self):
        return [child.pid for child in psutil.Process().children(recursive=True)]

    def close(self):
        self._client.close()
        self._cluster.close()
