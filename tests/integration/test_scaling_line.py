"""Scaling with real processes: workers that come and go all the time, several adapters and what they are asked for."""

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait

import psutil
import pytest

from scaler import Client
from tests.integration.commands import running, scheduler, wait_until

pytestmark = pytest.mark.integration

CHURN = "allocate=even_load; scaling=vanilla(upper=2,lower=1,cooldown=0)"
WAVES = 20
WAVE_TASKS = 100
PAUSE_SECONDS = 0.08
"""Of the load, between its waves: longer than the scheduler's between two decisions, so that all workers go."""


def mark(path, number):
    """Append the number of the task to a file, in one write: what was executed can be counted."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, f"{number} {os.getpid()}\n".encode())
    finally:
        os.close(descriptor)
    time.sleep(number % 7 / 1000)
    return 3 * number


def test_workers_come_and_go_all_the_time_and_every_task_is_executed_once(tmp_path):
    path = tmp_path / "executions"
    path.touch()
    with (
        scheduler(policy=CHURN) as (command, address),
        running("scaler_adapter_native", address, "--max-workers", 4),
        Client(address) as client,
    ):
        assert client.submit(abs, -1).result() == 1
        command.wait_for_line("draining")  # a new scheduler stops nothing in its first ten seconds
        futures = {}
        for wave in range(WAVES):
            numbers = range(wave * WAVE_TASKS, (wave + 1) * WAVE_TASKS)
            fresh = {number: client.submit(mark, str(path), number) for number in numbers}
            futures |= fresh
            left = wave % 3  # some waves come while the workers of the last one still drain
            wait_until(lambda fresh=fresh, left=left: sum(not f.done() for f in fresh.values()) <= left)
            time.sleep(PAUSE_SECONDS)
        results = {number: future.result() for number, future in futures.items()}

    lines = [line.split() for line in path.read_text().splitlines()]
    executions = Counter(int(number) for number, _ in lines)
    drained = sum("draining worker group" in line for line in command.lines)
    assert results == {number: 3 * number for number in range(WAVES * WAVE_TASKS)}
    assert set(executions.values()) == {1}
    assert len(executions) == WAVES * WAVE_TASKS
    assert drained > WAVES / 2
    assert len({pid for _, pid in lines}) > 2 * 4, "the workers have not changed"


def pid_after(seconds):
    time.sleep(seconds)
    return os.getpid()


def pid_when_open(folder):
    """Say that a task has begun, and go on when all have that are to run at the same time."""
    (folder / f"began-{os.getpid()}").touch()
    wait_until((folder / "open").exists)
    return os.getpid()


def pids_of_as_many(client, folder, tasks):
    """Return the pids of workers that ran so many tasks at the same time, each its own."""
    futures = [client.submit(pid_when_open, folder) for _ in range(tasks)]
    wait_until(lambda: len(list(folder.glob("began-*"))) == tasks)
    (folder / "open").touch()
    return {future.result() for future in futures}


def workers_of(adapter):
    """Return the pids of an adapter's workers: the children of its zygote."""
    parents = {process.pid: parent_of(process) for process in adapter.tree()}
    return {pid for pid, parent in parents.items() if parents.get(parent) == adapter.process.pid}


def parent_of(process):
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None


def test_tasks_run_where_their_capabilities_are_and_no_adapter_exceeds_its_limit():
    policy = "allocate=capability; scaling=capability(upper=1,cooldown=0.5)"
    with (
        scheduler(policy=policy) as (_, address),
        running("scaler_adapter_native", address, "-mw", 2) as plain,
        running("scaler_adapter_native", address, "-mw", 2, "-pwc", "gpu=2") as small,
        running("scaler_adapter_native", address, "-mw", 1, "-pwc", "gpu=8,fast") as large,
        Client(address) as client,
    ):
        adapters = {"plain": plain, "small": small, "large": large}
        pids = {name: set() for name in adapters}

        def run(tasks, capabilities, seconds=0.2):
            """Return the adapters whose workers ran the tasks; limits are looked at all the time."""
            futures = [client.submit_verbose(pid_after, (seconds,), capabilities=capabilities) for _ in range(tasks)]

            def all_done():
                for name, adapter in adapters.items():
                    pids[name] |= (now := workers_of(adapter))
                    assert len(now) <= {"plain": 2, "small": 2, "large": 1}[name]
                return all(future.done() for future in futures)

            wait_until(all_done)
            ran = {future.result() for future in futures}
            return {name for name in adapters if ran & pids[name]}

        assert run(4, {"gpu": 3}) == {"large"}
        assert workers_of(plain) | workers_of(small) == set()
        assert run(4, {"fast": -1}) == {"large"}
        assert run(12, {"gpu": 2}) == {"small", "large"}
        assert workers_of(plain) == set()
        assert run(30, {}) == {"plain", "small", "large"}
        nobody = client.submit_verbose(pid_after, (0,), capabilities={"gpu": 9})
        assert run(1, {"gpu": 8}) == {"large"}
        assert not nobody.done()
        assert nobody.cancel()
        wait_until(lambda: not any(workers_of(adapter) for adapter in adapters.values()))


def test_a_primary_adapter_has_its_worker_always_and_a_secondary_one_follows_the_tasks(tmp_path):
    with (
        scheduler(policy="allocate=even_load; scaling=fixed_elastic(upper=1,cooldown=0.5)") as (command, address),
        running("scaler_adapter_native", address, "-mw", 1) as primary,
        running("scaler_adapter_native", address, "-mw", 3) as secondary,
        Client(address) as client,
    ):
        wait_until(lambda: sum("joined: capacity" in line for line in command.lines) == 2)
        wait_until(lambda: workers_of(primary))
        (always,) = workers_of(primary)
        assert workers_of(secondary) == set()

        pids = pids_of_as_many(client, tmp_path, 4)
        assert always in pids
        assert len(pids) == 4
        wait_until(lambda: not workers_of(secondary))
        assert workers_of(primary) == {always}

        os.kill(always, signal.SIGKILL)
        wait_until(lambda: workers_of(primary) and workers_of(primary) != {always})
        assert workers_of(secondary) == set()


def test_a_fixed_adapter_is_seen_but_never_scaled_and_its_workers_count(tmp_path):
    with (
        scheduler(policy="allocate=even_load; scaling=vanilla(upper=1,cooldown=0)") as (command, address),
        running("scaler_adapter_fixed_native", address, "-mw", 2) as fixed,
        running("scaler_adapter_native", address, "-mw", 8) as elastic,
        Client(address) as client,
    ):
        wait_until(lambda: sum("joined: capacity" in line for line in command.lines) == 2)
        assert any("adapter FIX|" in line and "capacity 0" in line for line in command.lines)
        wait_until(lambda: sum("is ready" in line for line in command.lines) == 2)
        own = workers_of(fixed)

        pids = pids_of_as_many(client, tmp_path, 5)
        assert own < pids
        assert len(pids) == 5
        command.wait_for_line("draining worker group")
        wait_until(lambda: not workers_of(elastic))

        assert workers_of(fixed) == own
        assert not any("draining" in line and "FIX" in line for line in command.lines)


def test_backlog_has_ten_workers_for_ten_long_tasks_and_few_for_very_many_short_ones(tmp_path):
    with (
        scheduler(policy="allocate=even_load; scaling=backlog(target=1,cooldown=0.5)") as (_, address),
        running("scaler_adapter_native", address, "-mw", 12) as adapter,
        Client(address) as client,
    ):
        assert len(pids_of_as_many(client, tmp_path, 10)) == 10
        wait_until(lambda: not workers_of(adapter))

        counts = []
        mapped = ThreadPoolExecutor(1).submit(client.map, abs, range(-20_000, 0))
        while not counts or wait([mapped], timeout=0.02).not_done:
            counts.append(len(workers_of(adapter)))
        assert mapped.result() == list(range(20_000, 0, -1))
        assert max(counts) <= 2, "a machine on which each takes 0.1 ms may want more"
