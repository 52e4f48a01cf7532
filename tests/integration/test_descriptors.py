"""File descriptors run out: one clear line for whoever cannot have one, and all is well when some are free again."""

import contextlib
import sys

import psutil
import pytest

from scaler import Client
from tests.integration.commands import Command, running, scheduler, wait_until
from tests.integration.test_limits import busy_seconds, open_connections

pytestmark = pytest.mark.integration

ANY = "tcp://127.0.0.1:0"
LARGE_BYTES = 100_000
"""More than what goes to the object storage."""


def limited(count):
    """Return a program that may have so many descriptors."""
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({count}, {count}));"
        "from runpy import run_module; module = sys.argv.pop(1); run_module(module, run_name='__main__')"
    )
    return sys.executable, "-c", code


@pytest.mark.parametrize(
    "module", ["scaler_scheduler", "scaler_object_storage", "scaler_adapter_native", "scaler_adapter_fixed_native"]
)
@pytest.mark.parametrize("count", [16, 24, 40])
def test_a_command_that_may_have_too_few_says_so_and_ends(module, count):
    command = Command(module, ANY.replace(":0", ":1"), program=limited(count))

    assert command.process.wait(60) == 1
    command.assert_nothing_left()
    assert f"48 file descriptors are needed, the limit is {count}: see `ulimit -n`" in command.output
    assert "Traceback" not in command.output


def test_a_soft_limit_that_is_too_low_is_raised():
    code = limited("64")[2].replace("(64, 64)", "(20, 64)")
    command = Command("scaler_object_storage", ANY, program=(sys.executable, "-c", code))
    command.wait_for_line("object storage listening on")

    assert command.stop() == 0


def test_an_object_storage_without_a_free_one_serves_who_is_there_and_others_later():
    storage = Command("scaler_object_storage", ANY, program=limited(64))
    storage_address = storage.wait_for_line("object storage listening on").split()[-1]
    process = psutil.Process(storage.process.pid)
    with (
        scheduler("-osa", storage_address) as (_, address),
        running("scaler_adapter_fixed_native", address, "--max-workers", 1),
        Client(address) as client,
    ):
        assert len(client.submit(bytes, LARGE_BYTES).result()) == LARGE_BYTES
        opened = open_connections(storage_address, 100)
        storage.wait_for_line("no file descriptor is left, the limit is 64")
        assert len(client.submit(bytes, LARGE_BYTES).result()) == LARGE_BYTES
        for one in opened:
            one.close()
        with Client(address, timeout_seconds=30) as late:
            assert len(late.submit(bytes, LARGE_BYTES).result()) == LARGE_BYTES
        wait_until(lambda: process.num_fds() < 50)
    assert storage.stop() == 0


def test_more_clients_than_a_scheduler_has_descriptors_for_wait_and_come_in_when_others_leave():
    command = Command("scaler_scheduler", ANY, program=limited(64))
    address = command.wait_for_line("scheduler listening on").split()[-1]
    with running("scaler_adapter_fixed_native", address, "--max-workers", 1), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(address, timeout_seconds=60))]
        assert clients[0].submit(abs, -1).result() == 1  # the worker has its connection
        with pytest.raises(TimeoutError, match=f"no scheduler answered at {address} within 5 seconds"):  # noqa: PT012
            while True:
                clients.append(stack.enter_context(Client(address, timeout_seconds=5)))
        assert len(clients) > 10
        assert busy_seconds(psutil.Process(command.process.pid), 1.0) < 0.5, "it spins"
        assert [client.submit(abs, -1).result() for client in clients[:-1]] == [1] * (len(clients) - 1)
        for client in clients[1:10]:  # to have their objects removed takes up to five descriptors
            client.disconnect()
        with Client(address, timeout_seconds=60) as late:
            assert late.submit(abs, -2).result() == 2
    assert command.stop() == 0


def test_an_adapter_that_cannot_fork_all_its_workers_goes_on_with_those_it_has():
    with scheduler() as (command, address):
        adapter = Command("scaler_adapter_fixed_native", address, "-mw", 80, "--restart", program=limited(64))
        adapter.wait_for_line("cannot fork: Too many open files")
        command.wait_for_line("is pending: the start failed")
        with Client(address) as client:
            assert client.map(abs, range(-100, 0)) == list(range(100, 0, -1))
        assert adapter.stop() == 0
