"""Ray on this machine. It listens on every network interface, whatever it is told: see `isolated.py`."""

import logging

import psutil
import ray


class RayCluster:
    """A local instance; each call is a remote function."""

    name = "Ray"
    tasks = 1_000

    def __init__(self, workers):
        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            logging_level=logging.ERROR,
            configure_logging=True,
            log_to_driver=False,
        )
        self._remote = {}

    def map(self, function, items):
        remote = self._function(function)
        return ray.get([remote.remote(item) for item in items])

    def submit(self, function, *arguments):
        return _Submitted(self._function(function).remote(*arguments))

    def share(self, value):
        return ray.put(value)

    def pids(self):
        return [child.pid for child in psutil.Process().children(recursive=True)]

    def close(self):
        ray.shutdown()

    def _function(self, function):
        if function not in self._remote:
            self._remote[function] = ray.remote(function)
        return self._remote[function]


class _Submitted:
    def __init__(self, reference):
        self._reference = reference

    def result(self):
        return ray.get(self._reference)
