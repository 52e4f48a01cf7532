"""Parts of different versions: each side says so in one clear line, and none goes on as if nothing were."""

import re
import subprocess
import sys
import warnings

import pytest

from scaler_client.client import Client
from scaler_client.exceptions import ClientQuitException, SchedulerWarning
from scaler_protocol.messages import PROTOCOL_VERSION
from tests.integration.commands import PATIENCE_SECONDS, Command, scheduler, wait_until

pytestmark = pytest.mark.integration

WORKERS = {
    "scaler_adapter_native": "scaler_worker_adapter_native",
    "scaler_adapter_fixed_native": "scaler_worker_adapter_fixed_native",
    "scaler_cluster": "scaler_cluster",
}
OTHER_PROTOCOL = """
import runpy, sys
import scaler_protocol.messages
scaler_protocol.messages.PROTOCOL_VERSION = 99
runpy.run_module(sys.argv.pop(1), run_name="__main__")
"""
OTHER_PYTHON = """
import runpy, sys
import scaler_runtime.session
scaler_runtime.session.PYTHON_VERSION = "3.99"
runpy.run_module(sys.argv.pop(1), run_name="__main__")
"""
OTHER_CLIENT = """
import sys
import scaler_protocol.messages
scaler_protocol.messages.PROTOCOL_VERSION = 99
from scaler_client.client import Client
from scaler_client.exceptions import ClientQuitException
try:
    Client(sys.argv[1])
except ClientQuitException as error:
    print(error)
"""
SPOKEN = r"the scheduler speaks \w+ protocol {}, this {} speaks \w+ protocol {}: install the same version on both"


def command(module, *arguments, program=None):
    return Command(module, *arguments, program=(sys.executable, "-m") if program is None else program)


def changed(program):
    return sys.executable, "-c", program


def assert_turned_away(started, name, line):
    code = started.process.wait(PATIENCE_SECONDS)
    started.assert_nothing_left()
    said = [text for text in started.lines if text.startswith(f"{name}: ")]

    assert code == 1, started.output
    assert len(said) == 1, started.output
    assert re.search(line, said[0])
    assert "Traceback" not in started.output


def test_a_newer_scheduler_turns_everybody_away():
    newer = command("scaler_scheduler", "tcp://127.0.0.1:0", program=changed(OTHER_PROTOCOL))
    try:
        address = newer.wait_for_line("scheduler listening on").split()[-1]
        with pytest.raises(ClientQuitException, match=SPOKEN.format(99, "client", PROTOCOL_VERSION)) as caught:
            Client(address)
        assert "\n" not in str(caught.value)

        started = {module: command(module, address) for module in WORKERS}
        for module, name in WORKERS.items():
            assert_turned_away(started[module], name, SPOKEN.format(99, "adapter", PROTOCOL_VERSION))
    finally:
        newer.stop()
    for role in ("client", "adapter", "host"):
        lines = [line for line in newer.lines if f"turned away '{role}'" in line]
        assert lines, newer.output
        assert re.search(SPOKEN.format(99, role, PROTOCOL_VERSION), lines[0])


def test_newer_peers_are_turned_away_and_the_scheduler_says_whom():
    with scheduler() as (older, address):
        started = {module: command(module, address, program=changed(OTHER_PROTOCOL)) for module in WORKERS}
        for module, name in WORKERS.items():
            assert_turned_away(started[module], name, SPOKEN.format(PROTOCOL_VERSION, "adapter", 99))
        done = subprocess.run(
            [*changed(OTHER_CLIENT), address], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
        )
        assert re.search(SPOKEN.format(PROTOCOL_VERSION, "client", 99), done.stdout)
        older.wait_for_line("turned away 'client'")
        with Client(address) as client:  # nobody else is affected
            assert client.map(len, []) == []


def test_another_python_is_a_warning_on_each_side_and_no_more():
    other = command("scaler_scheduler", "tcp://127.0.0.1:0", program=changed(OTHER_PYTHON))
    try:
        address = other.wait_for_line("scheduler listening on").split()[-1]
        cluster = command("scaler_cluster", address, "-n", 1)
        text = r"this {} runs Python 3\.\d+, the scheduler 3\.99: pickled functions may not work between them"
        try:
            with warnings.catch_warnings(record=True) as caught, Client(address) as client:
                warnings.simplefilter("always")
                assert client.submit(pow, 2, 3).result() == 8
                wait_until(lambda: caught)
            assert [item.category for item in caught] == [SchedulerWarning]
            assert re.search(text.format("client"), str(caught[0].message))
            wait_until(lambda: re.search(text.format("worker"), cluster.output), lambda: cluster.output)
            assert re.search(text.format("adapter"), cluster.output)
        finally:
            assert cluster.stop() == 0
    finally:
        assert other.stop() == 0
