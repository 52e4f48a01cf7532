"""`kill -USR1` of any process of the product: it writes down what it knows, and goes on."""

import os
import signal
import sys
import time

import psutil
import pytest

from scaler import Client
from tests.integration.commands import Command, running, wait_until

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


def test_in_development_mode_the_tables_are_checked_all_the_time():
    scheduler = Command("scaler_scheduler", "tcp://127.0.0.1:0", program=(sys.executable, "-X", "dev", "-m"))
    address = scheduler.wait_for_line("scheduler listening on").split()[-1]
    with running("scaler_adapter_fixed_native", address, "--max-workers", 1), Client(address) as client:
        assert client.map(rest, [0.001] * 50) == [0.001] * 50
    assert scheduler.stop() == 0
    assert "could not be handled" not in scheduler.output
