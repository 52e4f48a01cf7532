"""`kill -USR1` of any process of the product: it writes down what it knows, and goes on."""

import os
import signal
import sys
import time

import psutil
import pytest

from scaler import Client
from tests.integration.commands import Command, running, scheduler, wait_until

pytestmark = pytest.mark.integration


def rest(seconds):
    time.sleep(seconds)
    return seconds


def dump_of(folder, pid):
    """Ask a process for its state and return the text, once it is complete."""
    os.kill(pid, signal.SIGUSR1)

    def complete():
        for path in folder.glob(f"scaler-state-{pid}-*.txt"):
            text = path.read_text()
            if "most recent call first" in text:
                assert path.stat().st_mode & 0o777 == 0o600
                path.unlink()
                return text
        return None

    text = wait_until(complete, lambda: f"no dump of {pid} among {list(folder.iterdir())}")
    assert psutil.pid_exists(pid)
    assert len(text) < 100_000
    return text


def dump_with(folder, pid, parts):
    """Ask until everything is in it: what was sent may still be on its way."""
    told = []

    def look():
        told.append(dump_of(folder, pid))
        return all(part in told[-1] for part in parts)

    wait_until(look, lambda: f"not all of {parts} in {told[-1]}")


def test_every_process_tells_what_it_knows_and_goes_on(tmp_path):
    there = {"TMPDIR": str(tmp_path)}
    scheduler = Command("scaler_scheduler", "tcp://127.0.0.1:0", environment=there)
    address = scheduler.wait_for_line("scheduler listening on").split()[-1]
    monitor = scheduler.wait_for_line("monitor listening on").split()[-1]
    with (
        running("scaler_adapter_fixed_native", address, "--max-workers", 1, environment=there) as adapter,
        running("scaler_object_storage", "tcp://127.0.0.1:0", environment=there) as storage,
        running("scaler_scheduler.top", monitor, environment=there) as top,
        Client(address) as client,
    ):
        storage.wait_for_line("object storage listening on")
        top.wait_for_line("task_manager")
        assert client.submit(rest, 0.0).result() == 0.0
        futures = [client.submit(rest, 2.0) for _ in range(3)]
        (zygote,) = psutil.Process(adapter.process.pid).children()
        (worker,) = zygote.children()

        pids = {
            "scheduler": scheduler.process.pid,
            "adapter": adapter.process.pid,
            "storage": storage.process.pid,
            "top": top.process.pid,
            "zygote": zygote.pid,
            "worker": worker.pid,
        }
        for name, parts in EXPECTED.items():
            dump_with(tmp_path, pids[name], parts)

        assert [future.result() for future in futures] == [2.0] * 3
        scheduler.wait_for_line("wrote the state to")
        adapter.wait_for_line("wrote the state to")
    assert scheduler.stop() == 0


EXPECTED = {
    "scheduler": ("consistent  yes", "tasks of rest", "worker Worker|", "received  SubmitBatch"),
    "adapter": ("== adapter ==", "== worker host ==", "Running(slice_id="),
    "storage": ("== object storage ==", "objects    0"),
    "top": ("== process ==",),
    "zygote": ("== children ==", "Worker|"),
    "worker": ("== worker ==", "of rest", "scheduler instance"),
}


def test_every_process_that_any_command_has_started_writes_its_state_and_goes_on(tmp_path):
    there = {"TMPDIR": str(tmp_path)}
    command = Command("scaler_scheduler", "tcp://127.0.0.1:0", environment=there)
    address = command.wait_for_line("scheduler listening on").split()[-1]
    with (
        running("scaler_cluster", address, "-n", 1, environment=there) as cluster,
        running("scaler_adapter_native", address, environment=there) as native,
        running("scaler_worker.group", address, "g", "-n", 1, environment=there) as group,
    ):
        command.wait_for_line("2 workers")
        processes = [process for one in (command, cluster, native, group) for process in one.tree()]
        # The scheduler has its storage and what looks after that; the others have zygotes and two workers.
        assert len(processes) == 3 + 3 + 2 + 3
        for process in processes:
            dump_of(tmp_path, process.pid)
        with Client(address) as client:
            assert client.map(abs, [-1]) == [1]
    assert command.stop() == 0


def test_it_may_be_asked_again_and_again(tmp_path):
    with running("scaler_scheduler", "tcp://127.0.0.1:0", environment={"TMPDIR": str(tmp_path)}) as scheduler:
        scheduler.wait_for_line("scheduler listening on")
        for _ in range(3):
            dump_of(tmp_path, scheduler.process.pid)


def test_without_a_place_to_write_it_goes_on():
    with running("scaler_scheduler", "tcp://127.0.0.1:0", environment={"TMPDIR": "/nonexistent"}) as scheduler:
        scheduler.wait_for_line("scheduler listening on")
        scheduler.process.send_signal(signal.SIGUSR1)

        assert "No such file" in scheduler.wait_for_line("the state cannot be written")


DEVELOPMENT = {"PYTHONDEVMODE": "1"}
PROGRAM = """
from scaler import Client
with Client({address!r}) as client:
    assert client.map(abs, range(-500, 0)) == list(range(500, 0, -1))
    assert len(client.submit(bytes, 100_000).result()) == 100_000
    for number in range(50):
        client.submit(abs, number).cancel()
"""


def test_in_development_mode_the_tables_are_checked_all_the_time():
    scheduler = Command("scaler_scheduler", "tcp://127.0.0.1:0", environment=DEVELOPMENT)
    address = scheduler.wait_for_line("scheduler listening on").split()[-1]
    fixed = ("scaler_adapter_fixed_native", address, "--max-workers", 2)
    with running(*fixed, environment=DEVELOPMENT) as adapter, Client(address) as client:
        assert client.map(rest, [0.001] * 50) == [0.001] * 50
        program = Command("-c", PROGRAM.format(address=address), program=(sys.executable,), environment=DEVELOPMENT)
        assert program.process.wait(60) == 0, program.output
        program.assert_nothing_left()
    assert scheduler.stop() == 0
    for command in (scheduler, adapter, program):
        assert "could not be handled" not in command.output, command.output
        assert "AssertionError" not in command.output


CHECKED = """
from scaler_adapter_core.adapter import Adapter
Adapter.check = lambda self: 1 / 0
from runpy import run_module
run_module("scaler_adapter_fixed_native", run_name="__main__")
"""


def test_what_is_found_in_development_mode_is_in_the_log():
    with scheduler() as (_, address):
        arguments = (CHECKED, address, "--max-workers", 1)
        adapter = Command("-c", *arguments, program=(sys.executable,), environment=DEVELOPMENT)
        try:
            assert adapter.wait_for_line("ZeroDivisionError")
        finally:
            adapter.kill()
