"""A task that has every worker killed under it: it fails with the history of causes, its neighbours pay nothing."""

import os
import signal

import pytest

from scaler import Client
from scaler.utility.exceptions import WorkerDiedError
from tests.integration.commands import running, scheduler

pytestmark = pytest.mark.integration

POISON = 57


def note(path, number):
    """Leave a line for each start; the poisonous one is killed from outside, as for want of memory."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{number}\n".encode())
    os.close(descriptor)
    if number == POISON:
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()
    return number


@pytest.mark.parametrize("limit", [0, 2])
def test_a_poisonous_task_fails_with_every_cause_and_its_neighbours_are_not_punished(tmp_path, limit):
    path = tmp_path / "starts"
    with (
        scheduler("--task-retry-limit", limit) as (_, address),
        running("scaler_adapter_fixed_native", address, "--max-workers", 2, "--restart"),
        Client(address) as client,
    ):
        assert client.map(abs, range(-1000, 0)) == list(range(1000, 0, -1))  # so that slices have many tasks
        futures = [client.submit(note, path, number) for number in range(300)]
        with pytest.raises(WorkerDiedError) as caught:
            futures[POISON].result()

        assert [future.result() for future in futures if future is not futures[POISON]] == [
            number for number in range(300) if number != POISON
        ]
        assert str(caught.value).count("SIGKILL") == limit + 1, str(caught.value)
        assert path.read_text().split().count(str(POISON)) == limit + 1
