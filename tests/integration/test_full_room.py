"""No memory and no disk is left: who needs some is told, the others go on, and all is well when there is room again."""

import json
import os
import signal

import psutil
import pytest

from scaler import Client
from tests.integration.commands import free_address, wait_until
from tests.integration.small_room import SIZE_MIB, open_room

pytestmark = pytest.mark.integration


@pytest.fixture
def room():
    room = open_room()
    yield room
    room.close()


def test_large_values_beyond_memory_and_disk_fail_alone_and_fit_again_later(room):
    storage = room.command("scaler_object_storage", "tcp://127.0.0.1:0")
    storage_address = storage.wait_for_line("object storage listening on").split()[-1]
    scheduler = room.command("scaler_scheduler", "tcp://127.0.0.1:0", "-osa", storage_address)
    address = scheduler.wait_for_line("scheduler listening on").split()[-1]
    adapter = room.command("scaler_adapter_fixed_native", address, "--max-workers", 2, "--restart")
    client = room.command("tests.integration.full_room_client", address)
    told = json.loads(client.wait_for_line("told").removeprefix("told "))
    assert client.process.wait(60) == 0
    assert [command.stop() for command in (adapter, scheduler, storage)] == [0] * 3

    assert told["before"] == told["meanwhile"] == told["another worker"] == [3, 2, 1]
    assert SIZE_MIB < told["right"] < 40, "more than memory holds, less than the disk could hold besides"
    for text in (*told["failed"], told["argument"]):
        assert text.startswith("ObjectStorageException: no place for "), text
    assert told["after"] == [3 << 20, 3 << 20]
    assert room.files() == []


def test_an_object_storage_that_finds_memory_full_says_so_and_starts_when_there_is_room(room):
    address = free_address()
    room.fill("/dev/shm")
    failing = room.command("scaler_object_storage", address)
    assert failing.process.wait(60) == 1
    failing.assert_nothing_left()
    assert "No space left on device" in failing.lines[-1], failing.output
    assert "Traceback" not in failing.output
    room.free("/dev/shm")
    storage = room.command("scaler_object_storage", address)
    storage.wait_for_line("object storage listening on")

    assert storage.stop() == 0
    assert room.files() == []


def test_with_a_full_disk_logs_and_dumps_are_lost_and_nothing_else(room):
    scheduler = room.command("scaler_scheduler", "tcp://127.0.0.1:0", "--logging-paths", "/var/tmp/log")
    address = scheduler.wait_for_line("scheduler listening on").split()[-1]
    adapter = room.command("scaler_adapter_fixed_native", address, "--max-workers", 1)
    with Client(address) as client:
        assert client.map(abs, [-1]) == [1]
        room.fill("/var/tmp")

        def is_said():  # what is left of the file's last page is filled first
            with Client(address) as another:  # of which the log tells
                assert another.map(abs, [-2]) == [2]
            return "cannot write to /var/tmp/log: No space left on device" in scheduler.output

        wait_until(is_said, lambda: scheduler.output)
        for command in (scheduler, adapter):
            os.kill(command.process.pid, signal.SIGUSR1)
        assert "No space left on device" in adapter.wait_for_line("the state cannot be written")
        assert client.map(abs, [-3]) == [3]
        room.free("/var/tmp")
        with Client(address) as another:
            assert another.map(abs, [-4]) == [4]
        wait_until(lambda: "lines could not be written here: No space left" in room.shell("cat /var/tmp/log"))
        assert psutil.Process(scheduler.process.pid).is_running()
    assert [command.stop() for command in (adapter, scheduler)] == [0, 0]
