"""A scheduler is killed and started again while tasks run: what runs is not started a second time."""

import os
import signal
import time
from collections import Counter

import pytest

from scaler import Client
from tests.integration.commands import Command, free_address, running, wait_until

pytestmark = pytest.mark.integration


def note(path, number, seconds):
    """Leave a line at the start and at the end."""
    for text in ("began", "ended"):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{text} {number}\n".encode())
        os.close(descriptor)
        if text == "began":
            time.sleep(seconds)
    return number


def counted(path, text):
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(int(line.split()[1]) for line in lines if line.startswith(text))


def test_running_tasks_go_on_and_are_not_started_again(tmp_path):
    address = free_address()
    scheduler = Command("scaler_scheduler", address)
    path = tmp_path / "lines"
    with running("scaler_adapter_fixed_native", address, "--max-workers", 3), Client(address) as client:
        futures = [client.submit(note, path, number, 3.0) for number in range(7)]
        wait_until(lambda: len(counted(path, "began")) == 3)
        begun = set(counted(path, "began"))
        scheduler.kill()
        scheduler = Command("scaler_scheduler", address)

        assert [future.result() for future in futures] == list(range(7))
        again = {number: count for number, count in counted(path, "began").items() if count > 1}
        assert not again.keys() & begun, "what ran was started again"
        assert again == {}
    assert scheduler.stop() == 0


def test_what_is_finished_while_no_scheduler_is_there_is_delivered_by_the_next(tmp_path):
    address = free_address()
    scheduler = Command("scaler_scheduler", address)
    path = tmp_path / "lines"
    with running("scaler_adapter_fixed_native", address, "--max-workers", 2), Client(address) as client:
        futures = [client.submit(note, path, number, 1.0) for number in range(2)]
        wait_until(lambda: len(counted(path, "began")) == 2)
        scheduler.process.send_signal(signal.SIGKILL)
        wait_until(lambda: len(counted(path, "ended")) == 2)
        scheduler.kill()
        scheduler = Command("scaler_scheduler", address)

        assert [future.result() for future in futures] == [0, 1]
        assert set(counted(path, "began").values()) == {1}
    assert scheduler.stop() == 0


def test_several_restarts_in_a_row_and_many_short_tasks(tmp_path):
    address = free_address()
    scheduler = Command("scaler_scheduler", address)
    with running("scaler_adapter_fixed_native", address, "--max-workers", 2), Client(address) as client:
        futures = [client.submit(note, tmp_path / str(number % 50), number, 0.003) for number in range(1500)]
        for _ in range(3):
            done = sum(future.done() for future in futures)
            wait_until(lambda done=done: sum(future.done() for future in futures) > min(done + 100, 1400))
            scheduler.kill()
            scheduler = Command("scaler_scheduler", address)
        assert [future.result() for future in futures] == list(range(1500))
    assert scheduler.stop() == 0


def test_calls_made_while_the_scheduler_is_away_wait_for_it_or_for_the_timeout():
    address = free_address()
    scheduler = Command("scaler_scheduler", address)
    adapter = ("scaler_adapter_fixed_native", address, "--max-workers", 1)
    with running(*adapter), Client(address) as patient, Client(address, timeout_seconds=1) as impatient:
        assert patient.submit(abs, -1).result() == impatient.submit(abs, -1).result() == 1
        scheduler.kill()
        future, reference = patient.submit(abs, -2), impatient.submit(abs, -3)
        silence = f"the scheduler at {address} was silent for 1 seconds"
        with pytest.raises(TimeoutError, match=silence):
            reference.result()
        with pytest.raises(TimeoutError, match=silence):
            impatient.map(abs, [-1])
        assert not future.done()
        scheduler = Command("scaler_scheduler", address)

        assert future.result() == 2
        assert patient.map(abs, [-4]) == [4]
        assert impatient.submit(abs, -5).result() == 5
    assert scheduler.stop() == 0
