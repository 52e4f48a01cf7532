"""Scheduler, workers and client on hosts of their own: what peers are told, and links that are cut and heal."""

import contextlib
from collections import Counter

import pytest

from tests.engines.apt import require
from tests.engines.hosts import COMMANDS, PACKAGES, Hosts
from tests.integration.commands import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TASKS = 200


@pytest.fixture(scope="module")
def hosts():
    require("several hosts", COMMANDS, PACKAGES, as_root=True)
    with Hosts("server", "first", "second", "user") as made:
        yield made


@pytest.fixture
def stage(hosts):
    """A scheduler on every address of its host, and a worker on each of two others; gives its address for peers."""
    with contextlib.ExitStack() as stack:

        def start(*options):
            policy = "allocate=even_load; scaling=no"
            command = stack.enter_context(
                hosts.running("server", "scaler_scheduler", "tcp://0.0.0.0:0", "-pc", policy, *options)
            )
            port = command.wait_for_line("scheduler listening on").rpartition(":")[2]
            address = f"tcp://{hosts.addresses['server']}:{port}"
            for name in ("first", "second"):
                stack.enter_context(hosts.running(name, "scaler_worker.group", address, f"group-{name}"))
                command.wait_for_line("is ready")
            return command, address

        yield start


def executions(folder):
    """Return the tasks that were executed and the processes that did, as far as they have come."""
    file = folder / "executions"
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return [int(number) for number, _ in lines], [pid for _, pid in lines]


def test_peers_of_a_scheduler_on_a_wildcard_are_sent_to_where_they_reached_it(hosts, stage, tmp_path):
    """Values go over the network: no host sees another's memory."""
    _, address = stage()
    before = {name: hosts.received(name) for name in ("first", "second", "user")}
    with hosts.running("user", "tests.engines.far_client", address, "values", tmp_path, 8) as client:
        client.wait_for_line("values are right")

    came = {name: hosts.received(name) - count for name, count in before.items()}
    assert came["user"] > 16 << 20
    assert came["first"] + came["second"] > 8 << 20
    assert any(name.startswith("scaler-") for name in hosts.memory_files("server"))


@pytest.mark.parametrize("name", ["first", "user", "server"])
def test_a_link_that_is_cut_and_heals_loses_nothing_and_doubles_nothing(name, hosts, stage, tmp_path):
    command, address = stage()
    with hosts.running("user", "tests.engines.far_client", address, "tasks", tmp_path, TASKS) as client:
        wait_until(lambda: len(executions(tmp_path)[0]) > TASKS // 10)
        hosts.cut(name)
        try:
            seen = len(executions(tmp_path)[0])
            # Work goes on: whoever is not cut off has some, and a worker some ahead.
            wait_until(lambda: len(executions(tmp_path)[0]) > seen)
        finally:
            hosts.heal(name)
        client.wait_for_line("results are right")

    numbers, pids = executions(tmp_path)
    assert Counter(numbers) == Counter(range(TASKS))
    assert len(set(pids)) == 2
    assert not any("lost" in line or "died" in line for line in command.lines)


def test_a_worker_that_was_given_up_while_it_was_cut_off_doubles_no_result(hosts, stage, tmp_path):
    command, address = stage("--worker-timeout-seconds", 2)
    with hosts.running("user", "tests.engines.far_client", address, "tasks", tmp_path, TASKS) as client:
        wait_until(lambda: len(executions(tmp_path)[0]) > TASKS // 10)
        hosts.cut("first")
        try:
            wait_until(
                lambda: any("silent" in line or "lost" in line for line in command.lines), lambda: command.output
            )
        finally:
            hosts.heal("first")
        client.wait_for_line("results are right")

    numbers, _ = executions(tmp_path)
    assert set(numbers) == set(range(TASKS))
