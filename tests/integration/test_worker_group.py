"""The program that runs the workers of one group, as a job of some engine would run it."""

import os
import signal
import time

import pytest

from scaler import Client
from scaler_protocol.identifiers import worker_ids_of
from tests.integration.commands import Command, running, scheduler, wait_until

pytestmark = pytest.mark.integration


def pid_after(seconds):
    time.sleep(seconds)
    return os.getpid()


def touch_and_wait(begun, end):
    begun.touch()
    wait_until(end.exists)
    return os.getpid()


def test_it_runs_the_workers_that_its_adapter_expects():
    options = ("group-7", "-n", 2, "--name", "alice", "-pwc", "gpu=2")
    with (
        scheduler(policy="allocate=capability; scaling=no") as (command, address),
        running("scaler_worker.group", address, *options),
        Client(address) as client,
    ):
        for worker_id in worker_ids_of("group-7", "alice", 2):
            assert worker_id.startswith("Worker|alice|")
            assert f"worker {worker_id} is ready" in command.output or command.wait_for_line(f"worker {worker_id} is")
        futures = [client.submit_verbose(pid_after, (0.2,), capabilities={"gpu": 2}) for _ in range(2)]
        assert len({future.result() for future in futures}) == 2


def test_on_sigterm_its_workers_finish_what_they_run():
    with scheduler() as (command, address), Client(address) as client:
        group = Command("scaler_worker.group", address, "g")
        command.wait_for_line("is ready")
        future = client.submit(pid_after, 1.5)
        time.sleep(0.5)  # the task runs by then
        assert group.stop() == 0
        assert future.result() > 0
        assert not any("lost" in line or "died" in line for line in command.lines)


def test_it_ends_with_its_last_worker_and_says_why():
    with scheduler() as (_, address), Client(address) as client:
        group = Command("scaler_worker.group", address, "g")
        os.kill(client.submit(pid_after, 0).result(), signal.SIGKILL)
        assert group.process.wait(30) == 1
        assert group.stop() == 1
        assert "its last worker has ended" in group.lines[-1]
        assert "SIGKILL" in group.lines[-1]


def test_it_ends_in_order_with_its_scheduler():
    with scheduler() as (command, address):
        group = Command("scaler_worker.group", address, "g", "-n", 2)
        command.wait_for_line("2 workers")
        Client(address).shutdown()
        assert group.process.wait(30) == 0
        assert group.stop() == 0
        assert not any("last worker" in line for line in group.lines)


def test_what_is_missing_is_one_line():
    group = Command("scaler_worker.group", "tcp://127.0.0.1:8516")
    assert group.process.wait(30) == 2
    assert group.stop() == 2
    assert len(group.lines) == 1
    assert "group_id" in group.output.lower()


def test_before_its_time_is_up_its_workers_finish_what_they_run_however_long_that_takes(tmp_path):
    with scheduler() as (command, address), Client(address) as client:
        group = Command("scaler_worker.group", address, "g", "-n", 2)
        command.wait_for_line("2 workers")
        future = client.submit(touch_and_wait, tmp_path / "begun", tmp_path / "end")
        wait_until((tmp_path / "begun").exists)
        group.process.send_signal(signal.SIGUSR2)
        command.wait_for_line("was stopped")  # the idle one
        (tmp_path / "end").touch()
        assert future.result() > 0
        assert group.process.wait(60) == 0
        assert group.stop() == 0
        assert not any("lost" in line or "died" in line for line in command.lines)


def test_asked_to_stop_while_it_finishes_it_stops(tmp_path):
    with scheduler() as (command, address), Client(address) as client:
        group = Command("scaler_worker.group", address, "g")
        command.wait_for_line("is ready")
        client.submit(touch_and_wait, tmp_path / "begun", tmp_path / "never")
        wait_until((tmp_path / "begun").exists)
        group.process.send_signal(signal.SIGUSR2)
        group.wait_for_line("nearly up")
        assert group.stop() == 0
