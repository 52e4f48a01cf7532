"""Graphs whose workers or scheduler are killed in the middle, or that have no workers."""

import concurrent.futures
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from scaler import Client, SchedulerClusterCombo
from scaler_protocol.batch import STORED_BYTES
from tests.integration.commands import Command, free_address, running, scheduler, wait_until
from tests.integration.graph_tasks import (
    add,
    inc,
    large,
    measure,
    wait_for,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:capabilities of tasks are ignored"),
]


def steps(folder, width, depth):
    """Columns of tasks that each add one, and say that they have run."""
    graph = {"folder": str(folder), "zero": 0}
    for place in range(width):
        graph[f"s0.{place}"] = (step, "folder", "zero")
        graph |= {f"s{level}.{place}": (step, "folder", f"s{level - 1}.{place}") for level in range(1, depth)}
    graph["all"] = (add, *(f"s{depth - 1}.{place}" for place in range(width)))
    return graph


def step(folder, value):
    time.sleep(0.005)  # so that the test can come in between
    (Path(folder) / f"step.{os.getpid()}").touch()
    return value + 1


@pytest.mark.parametrize("width", [1, 4])
def test_kill_9_of_workers_in_the_middle_of_a_graph(tmp_path, width):
    with SchedulerClusterCombo(3, logging_level="ERROR") as combo, Client(combo.get_address()) as client:
        graph = steps(tmp_path, width, 240 // width) | {"l": (large, "zero")}
        futures = client.get(graph, ["all", "l"], block=False)
        sizes = client.submit(measure, futures["l"], futures["l"])
        for _ in range(2):
            wait_for(tmp_path, "step")
            killed = next(tmp_path.glob("step.*"))
            os.kill(int(killed.suffix[1:]), signal.SIGKILL)
            wait_until(lambda killed=killed: not psutil.pid_exists(int(killed.suffix[1:])))
            killed.unlink()
        assert futures["all"].result() == 240
        assert [tuple(item) for item in sizes.result()] == [(2 * STORED_BYTES, b"\0")] * 2


@pytest.mark.parametrize("width", [1, 4])
def test_kill_9_of_the_scheduler_in_the_middle_of_a_graph(tmp_path, width):
    address = free_address()
    first = Command("scaler_scheduler", address)
    with running("scaler_cluster", address, "-n", 2), Client(address, timeout_seconds=60) as client:
        depth = 240 // width
        graph = steps(tmp_path, width, depth) | {"seed": 5, **{f"l{number}": (large, "seed") for number in range(3)}}
        graph["sizes"] = (measure, "l0", "l1", "l2")
        last = f"s{depth - 1}.0"
        futures = client.get(graph, ["all", "sizes", last], block=False)
        outside = client.submit(add, futures["all"], futures[last])
        wait_for(tmp_path, "step")
        first.kill()
        with running("scaler_scheduler", address):
            assert futures["all"].result() == 240
            assert futures[last].result() == depth
            assert outside.result() == 240 + depth
            assert [tuple(item) for item in futures["sizes"].result()] == [(2 * STORED_BYTES, b"\5")] * 3
            assert client.get({"x": 1, "a": (inc, "x")}, ["a"]) == {"a": 2}


def test_a_scheduler_without_workers_lets_graphs_wait():
    with scheduler() as (_, address), Client(address) as client:
        futures = client.get({"x": 1, "a": (inc, "x"), "b": (inc, "a")}, ["a", "b"], block=False)
        assert futures["a"].cancel()
        concurrent.futures.wait([futures["b"]])
        assert futures["b"].cancelled()
