"""What a process had written and not sent when it ended: its host says it, but not for a task that was cancelled."""

import os
import time
from pathlib import Path

import pytest

from scaler import Client
from scaler.utility.exceptions import ProcessorDiedError
from scaler_worker.output import Output
from tests.integration.commands import PATIENCE_SECONDS, running, scheduler, wait_until

pytestmark = pytest.mark.integration


def send_nothing():
    """Have the process leave in its pipes whatever its tasks write; run before its tasks."""
    Output._read = lambda *_, **__: []


def say_and_wait(folder):
    os.write(1, b"too late\n")
    (Path(folder) / "said").touch()
    time.sleep(PATIENCE_SECONDS)


def say_and_leave():
    os.write(1, b"at the end\n")
    os._exit(3)


def test_late_output_of_a_cancelled_task_is_dropped(tmp_path, capfd):
    preload = ("--preload", "tests.integration.test_last_words:send_nothing")
    with (
        scheduler() as (_, address),
        running("scaler_adapter_fixed_native", address, "--max-workers", 1, *preload),
        Client(address, stream_output=True) as client,
    ):
        future = client.submit(say_and_wait, str(tmp_path))
        wait_until((tmp_path / "said").exists)
        assert future.cancel(PATIENCE_SECONDS)
        with pytest.raises(ProcessorDiedError):
            client.submit(say_and_leave).result(PATIENCE_SECONDS)
        assert capfd.readouterr().out == "at the end\n"
