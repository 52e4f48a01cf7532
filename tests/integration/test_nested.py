"""Tasks that submit tasks and wait for them: any depth, any number of workers, whatever ends in the middle."""

import contextlib
import os
import signal
import time
from concurrent.futures import CancelledError
from pathlib import Path

import psutil
import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.utility.exceptions import ProcessorDiedError, TaskTimeoutError
from tests.integration.commands import PATIENCE_SECONDS, Command, is_alive, running, scheduler, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

PARENTS = 600
"""Far more than there are processes, so that one for each would be noticed."""


@pytest.fixture
def combo():
    """Start combos whose processes are all gone afterwards."""
    before = set(psutil.Process().children(recursive=True))
    started = set()
    with contextlib.ExitStack() as stack:

        def start(n_workers, **options):
            made = stack.enter_context(SchedulerClusterCombo(n_workers, logging_level="WARNING", **options))
            return made.get_address()

        yield start
        started |= set(psutil.Process().children(recursive=True)) - before
    wait_until(lambda: not any(map(is_alive, started)), lambda: f"left over: {started}")


class Ledger:
    """Files by which tasks tell the test what they do."""

    def __init__(self, folder):
        self.folder = folder

    def note(self, name):
        """Say that a task has begun, and in which process."""
        (self.folder / f"{name}.{os.getpid()}").touch()

    def pids(self, name):
        return [int(path.suffix[1:]) for path in self.folder.glob(f"{name}.*")]

    def pid(self, name):
        """Wait until a task has begun; return its process."""
        return wait_until(lambda: self.pids(name), lambda: f"{name} has not begun")[0]

    def open(self, name):
        (self.folder / f"{name}-is-open").touch()

    def wait_open(self, name):
        wait_until((self.folder / f"{name}-is-open").exists)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path)


# ---- tasks


def double(value):
    return 2 * value


def fibonacci(n):
    if n < 2:
        return n
    with Client() as client:
        low, high = client.submit(fibonacci, n - 2), client.submit(fibonacci, n - 1)
        return low.result() + high.result()


def fibonacci_with(client, n):
    """Do the same with a client that was pickled."""
    if n < 2:
        return n
    low, high = client.submit(fibonacci_with, client, n - 2), client.submit(fibonacci_with, client, n - 1)
    return low.result() + high.result()


def chain(depth):
    if depth == 0:
        return 0
    with Client() as client:
        return 1 + client.submit(chain, depth - 1).result()


def sum_of_children(ledger, number):
    ledger.note("parent")
    with Client() as client:
        return sum(client.map(child_of, [ledger] * 3, range(3 * number, 3 * number + 3)))


def child_of(ledger, number):
    ledger.note("child")
    return number


def wait_for_child(ledger, name="", seconds=0.0):
    """Have a child that ends when the test lets it, or by itself after some seconds."""
    ledger.note(f"parent{name}")
    with Client() as client:
        return client.submit(child, ledger, name, seconds).result()


def child(ledger, name, seconds):
    ledger.note(f"child{name}")
    if seconds:
        time.sleep(seconds)
    else:
        ledger.wait_open(f"child{name}")
    return f"child{name}"


def die_with_child(ledger):
    ledger.note("parent")
    with Client() as client:
        future = client.submit(end_by, ledger, signal.SIGSEGV)
        try:
            return future.result()
        except ProcessorDiedError as error:
            return error.signal_name


def end_by(ledger, number):
    ledger.note("child")
    os.kill(os.getpid(), number)
    time.sleep(PATIENCE_SECONDS)


def look_at_parent(parent):
    """Return whether the process of the parent is, or comes to be, stopped."""
    wait_until(lambda: psutil.Process(parent).status() == psutil.STATUS_STOPPED)
    return True


def parent_of_lookers(count):
    with Client() as client:
        return client.map(look_at_parent, [os.getpid()] * count)


# ---- depth and breadth


def test_recursion_on_one_worker_ends(combo):
    with Client(combo(1)) as client:
        assert client.submit(fibonacci, 12).result(PATIENCE_SECONDS) == 144


def test_a_client_may_be_an_argument(combo):
    with Client(combo(1)) as client:
        assert client.submit(fibonacci_with, client, 8).result(PATIENCE_SECONDS) == 21


def test_a_chain_of_depth_20_on_one_worker_ends(combo):
    with Client(combo(1)) as client:
        assert client.submit(chain, 20).result(PATIENCE_SECONDS) == 20


def test_many_parents_need_two_processes_a_worker(combo, ledger):
    with Client(combo(2)) as client:
        results = client.map(sum_of_children, [ledger] * PARENTS, range(PARENTS))

    assert results == [9 * number + 3 for number in range(PARENTS)]
    assert len({*ledger.pids("parent"), *ledger.pids("child")}) <= 4


def test_parents_in_every_queue_do_not_block_their_children(combo):
    with Client(combo(2, per_worker_task_queue_size=4)) as client:
        futures = [client.submit(fibonacci, 4) for _ in range(60)]
        assert [future.result(PATIENCE_SECONDS) for future in futures] == [3] * 60
        assert client.map(double, range(100)) == [2 * n for n in range(100)]


# ---- ends in the middle


def test_a_lender_that_is_killed_runs_again_and_its_child_is_dropped_at_once(ledger):
    with (
        scheduler() as (command, address),
        running("scaler_adapter_fixed_native", address, "--max-workers", 1, "--restart"),
        Client(address) as client,
    ):
        future = client.submit(wait_for_child, ledger)
        orphan = ledger.pid("child")
        os.kill(ledger.pid("parent"), signal.SIGKILL)
        wait_until(lambda: not psutil.pid_exists(orphan), lambda: command.output)
        wait_until(lambda: len(ledger.pids("child")) == 2)
        ledger.open("child")
        assert future.result(PATIENCE_SECONDS) == "child"
        assert len(ledger.pids("parent")) == 2


def test_a_helper_that_is_killed_costs_its_task_a_retry(combo, ledger):
    with Client(combo(1)) as client:
        future = client.submit(wait_for_child, ledger)
        os.kill(ledger.pid("child"), signal.SIGKILL)
        wait_until(lambda: len(ledger.pids("child")) == 2)
        ledger.open("child")
        assert future.result(PATIENCE_SECONDS) == "child"
        assert len(ledger.pids("parent")) == 1


def test_a_helper_that_its_task_ends_fails_the_task_only(combo, ledger):
    with Client(combo(1)) as client:
        assert client.submit(die_with_child, ledger).result(PATIENCE_SECONDS) == "SIGSEGV"
        assert client.submit(wait_for_child, ledger, "again", 0.01).result(PATIENCE_SECONDS) == "childagain"
        assert len(ledger.pids("child")) == 1


@pytest.mark.parametrize("hard", [False, True])
def test_cancelling_a_parent_ends_its_child(combo, ledger, hard):
    with Client(combo(1, hard_processor_suspend=hard)) as client:
        future = client.submit(wait_for_child, ledger)
        parent, helper = psutil.Process(ledger.pid("parent")), psutil.Process(ledger.pid("child"))
        if hard:
            wait_until(lambda: parent.status() == psutil.STATUS_STOPPED)
        assert future.cancel()
        with pytest.raises(CancelledError):
            future.result()
        wait_until(lambda: not is_alive(helper))
        assert client.submit(double, 2).result(PATIENCE_SECONDS) == 4


def test_two_parents_share_one_worker_when_a_child_takes_long(combo, ledger):
    """The second parent does not begin in the slot of the first: it is of no higher priority."""
    with Client(combo(1)) as client:
        first, second = client.submit(wait_for_child, ledger, "1"), client.submit(wait_for_child, ledger, "2")
        ledger.pid("child1")
        assert ledger.pids("parent2") == []
        ledger.open("child2")
        ledger.open("child1")
        assert [first.result(PATIENCE_SECONDS), second.result(PATIENCE_SECONDS)] == ["child1", "child2"]


# ---- time


@pytest.mark.parametrize(("workers", "hard"), [(1, False), (1, True), (2, False)])
def test_the_time_that_a_task_is_suspended_does_not_count(combo, ledger, workers, hard):
    """Whether its children run in its place or elsewhere; what it does afterwards by itself does count."""
    with Client(combo(workers, task_timeout_seconds=1, hard_processor_suspend=hard)) as client:
        assert client.submit(wait_of_children, ledger, 4).result(PATIENCE_SECONDS) == 4
        with pytest.raises(TaskTimeoutError, match="limit of 1 seconds"):
            client.submit(wait_of_children, ledger, 1, PATIENCE_SECONDS).result(PATIENCE_SECONDS)


def wait_of_children(ledger, count, more_seconds=0.0):
    with Client() as client:
        done = [client.submit(child, ledger, "", 0.6).result() for _ in range(count)]
        time.sleep(more_seconds)
        return len(done)


# ---- stopping processes


def test_a_parent_is_stopped_while_its_slot_is_lent(combo):
    with Client(combo(1, hard_processor_suspend=True)) as client:
        assert client.submit(parent_of_lookers, 5).result(PATIENCE_SECONDS) == [True] * 5
        assert client.submit(fibonacci, 9).result(PATIENCE_SECONDS) == 34


def test_a_stopped_parent_is_no_lost_worker_and_its_client_no_lost_client(combo, ledger):
    with Client(combo(1, hard_processor_suspend=True, client_timeout_seconds=2, worker_timeout_seconds=2)) as client:
        assert client.submit(wait_for_child, ledger, "", 16).result(PATIENCE_SECONDS) == "child"
        assert len(ledger.pids("parent")) == 1


# ---- draining


def test_a_group_that_drains_finishes_what_waits_in_it(ledger):
    policy = "allocate=even_load; scaling=vanilla(upper=1,lower=1,cooldown=0.2)"
    with (
        scheduler(policy=policy) as (command, address),
        running("scaler_adapter_native", address, "--max-workers", 4),
        Client(address) as client,
    ):
        futures = [client.submit(wait_for_child, ledger, str(number)) for number in range(4)]
        for number in range(4):
            ledger.pid(f"child{number}")
        others = [client.submit(double, number) for number in range(40)]
        for number in range(3):
            ledger.open(f"child{number}")
        assert [future.result(PATIENCE_SECONDS) for future in futures[:3]] == ["child0", "child1", "child2"]
        command.wait_for_line("draining worker group")
        ledger.open("child3")
        assert futures[3].result(PATIENCE_SECONDS) == "child3"
        assert [future.result(PATIENCE_SECONDS) for future in others] == [2 * number for number in range(40)]
        assert [len(ledger.pids(f"parent{number}")) for number in range(4)] == [1] * 4


def test_a_host_that_is_asked_to_end_lets_waiting_tasks_finish(ledger):
    with scheduler() as (_, address), Client(address) as client:
        command = Command("scaler_adapter_fixed_native", address, "--max-workers", 1)
        future = client.submit(wait_for_child, ledger, "", 1.0)
        ledger.pid("child")
        assert command.stop() == 0
        assert future.result(PATIENCE_SECONDS) == "child"
        assert len(ledger.pids("parent")) == 1


# ---- a new scheduler


def test_nested_tasks_survive_a_scheduler_that_is_killed():
    with (
        scheduler() as (first, address),
        running("scaler_adapter_fixed_native", address, "--max-workers", 1),
        Client(address) as client,
    ):
        futures = [client.submit(fibonacci, 7) for _ in range(10)]
        assert futures[0].result(PATIENCE_SECONDS) == 13
        first.kill()
        with running("scaler_scheduler", address):
            assert [future.result(PATIENCE_SECONDS) for future in futures] == [13] * 10


def test_a_helper_counts_as_no_worker_and_is_kept_for_the_next_task(ledger):
    with (
        scheduler() as (command, address),
        running("scaler_adapter_fixed_native", address, "--max-workers", 1) as adapter,
        Client(address) as client,
    ):
        future = client.submit(wait_for_child, ledger)
        parent, helper = ledger.pid("parent"), ledger.pid("child")
        assert {parent, helper} <= {process.pid for process in adapter.tree()}
        assert sum("is ready; 1 workers" in line for line in command.lines) == 1
        ledger.open("child")
        assert future.result(PATIENCE_SECONDS) == "child"
        assert Path(f"/proc/{helper}").exists()  # kept for the next
