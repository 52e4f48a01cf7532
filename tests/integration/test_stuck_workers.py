"""A worker that cannot say anything is not dead while its process runs; one that was stopped is, until it goes on."""

import ctypes
import os
import signal
import time

import pytest

from scaler import Client
from tests.integration.commands import running, scheduler, wait_until

pytestmark = pytest.mark.integration

HELD_SECONDS = 13
"""Longer than every timeout of the commands below, and than the ten seconds after which connections are given up."""

IMPATIENT = ("--heartbeat-interval-seconds", 1, "--death-timeout-seconds", 5)


def hold_the_interpreter(path, seconds):
    """Let no other thread of the process run, as a badly written extension does."""
    note(path)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ctypes.PyDLL(None).sleep(seconds)  # PyDLL keeps the lock
    return os.getpid()


def note(path):
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    os.close(descriptor)


def pids_in(path):
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def note_and_rest(path, seconds):
    note(path)
    time.sleep(seconds)
    return os.getpid()


def pid_after(seconds):
    time.sleep(seconds)
    return os.getpid()


@pytest.mark.slow
def test_a_task_that_holds_the_interpreter_for_long_does_not_make_its_worker_look_dead(tmp_path):
    with (
        scheduler("--worker-timeout-seconds", 1) as (command, address),
        running("scaler_adapter_fixed_native", address, "--max-workers", 1, *IMPATIENT) as adapter,
        Client(address) as client,
    ):
        worker = client.submit(pid_after, 0).result()
        futures = [client.submit(hold_the_interpreter, tmp_path / "held", HELD_SECONDS)]
        futures += [client.submit(note_and_rest, tmp_path / str(number), 0) for number in range(3)]

        assert [future.result() for future in futures] == [worker] * 4
        assert pids_in(tmp_path / "held") == [worker], "it ran more than once"
        assert [pids_in(tmp_path / str(number)) for number in range(3)] == [[worker]] * 3
        assert not any("lost" in line or "gone" in line or "stopped" in line for line in command.lines)
        assert adapter.process.poll() is None


def test_the_tasks_of_a_stopped_worker_run_elsewhere_and_what_it_says_later_is_dropped(tmp_path):
    path = tmp_path / "pids"
    with (
        scheduler("--worker-timeout-seconds", 1) as (command, address),
        running("scaler_adapter_fixed_native", address, "--max-workers", 2, *IMPATIENT),
        Client(address) as client,
    ):
        command.wait_for_line("2 workers")
        future = client.submit(note_and_rest, path, 0.5)
        (stopped,) = wait_until(lambda: pids_in(path))
        os.kill(stopped, signal.SIGSTOP)
        command.wait_for_line("is stopped; its tasks run elsewhere")

        assert future.result() != stopped
        assert len(pids_in(path)) == 2
        assert client.map(pid_after, [0] * 20) == [future.result()] * 20, "a stopped worker got something"
        os.kill(stopped, signal.SIGCONT)
        wait_until(lambda: stopped in client.map(pid_after, [0.01] * 8))
        assert len(pids_in(path)) == 2
        assert "not be handled" not in command.output
