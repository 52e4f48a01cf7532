"""A worker that ends between storing a result and saying so leaves nothing, while its client goes on."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from scaler import Client
from scaler_protocol.batch import STORED_BYTES, Status, unpack_stored
from scaler_protocol.identifiers import ID_BYTES
from scaler_worker.executor import Executor
from tests.integration.commands import PATIENCE_SECONDS, running, scheduler, wait_until
from tests.integration.storage_peers import connecting

pytestmark = pytest.mark.integration


def end_after_storing(path, number):
    """Have the first process that has stored a result end by a signal before it says so; run before its tasks."""
    say = Executor._add

    def end(self, answer, seconds=None):
        if answer[0] == Status.STORED:
            with contextlib.suppress(FileExistsError), Path(path).open("xb") as died:
                died.write(unpack_stored(answer[1])[1])
                died.flush()
                os.kill(os.getpid(), number)
                signal.pause()
        say(self, answer, seconds)

    Executor._add = end


def large(_):
    return bytes(2 * STORED_BYTES)


def test_a_result_that_was_stored_and_never_announced_is_removed(tmp_path):
    died = tmp_path / "died"
    preload = f"tests.integration.test_unheard_results:end_after_storing({str(died)!r}, {int(signal.SIGKILL)})"
    with scheduler() as (_, address):
        storage = address.rpartition(":")
        with (
            running("scaler_adapter_fixed_native", address, "--max-workers", 2, "--preload", preload),
            Client(address) as client,
            connecting(f"{storage[0]}:{int(storage[2]) + 1}") as connector,
        ):
            future = client.submit(large, 0)
            assert len(future.result(PATIENCE_SECONDS)) == 2 * STORED_BYTES
            assert len(died.read_bytes()) == ID_BYTES
            connector.wait_until_ready()
            wait_until(lambda: connector.try_get(died.read_bytes()) is None, lambda: "it is still there")
