"""Tasks that run in containers: the checkout is mounted there, so that their module is found."""

import os
import time
from pathlib import Path


def where(_number):
    """Tell in which container a task is."""
    return Path("/proc/self/cgroup").read_text().splitlines()[0].rpartition("-")[2]


def hold(folder, name):
    """Say that a task has begun, and go on until it may end; tell in which container."""
    (Path(folder) / name).touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.02)
    return where(0)


def fill_memory(mebibytes):
    """Take memory, and use it."""
    return len(bytearray(mebibytes << 20))


def read(path):
    return Path(path).read_text()


def variable(name):
    return os.environ[name]
