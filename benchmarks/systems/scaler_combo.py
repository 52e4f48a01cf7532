"""Scaler with a fixed number of workers, as `SchedulerClusterCombo` starts it."""

import psutil

from scaler import Client, SchedulerClusterCombo


class ScalerCombo:
    """Scheduler and workers on this machine, and one client."""

    name = "Scaler"
    tasks = 10_000

    def __init__(self, workers):
        self._combo = SchedulerClusterCombo(n_workers=workers, logging_level="ERROR")
        self._client = Client(self._combo.get_address())

    def map(self, function, items):
        return self._client.map(function, items)

    def submit(self, function, *arguments):
        return self._client.submit(function, *arguments)

    def share(self, value):
        return self._client.send_object(value)

    def pids(self):
        return [child.pid for child in psutil.Process().children(recursive=True)]

    def close(self):
        self._client.disconnect()
        self._combo.shutdown()
