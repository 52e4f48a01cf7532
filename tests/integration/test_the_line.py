"""The product's page, lived through: scheduler, adapters and clients as real commands, together and with failures."""

import concurrent.futures
import os
import signal
import time
import warnings

import psutil
import pytest

from scaler import Client, Cluster, SchedulerClusterCombo
from scaler.utility.exceptions import ProcessorDiedError, SchedulerWarning, WorkerDiedError
from tests.integration.commands import Command, free_address, running, scheduler, wait_until

pytestmark = pytest.mark.integration

VANILLA = "allocate=even_load; scaling=vanilla(cooldown=0.5)"


def double(value):
    return 2 * value


def add(left, right):
    return left + right


def fail(text):
    raise KeyError(text)


def pid_after(seconds):
    time.sleep(seconds)
    return os.getpid()


def leave(code):
    os._exit(code)


def end_by_signal(number):
    os.kill(os.getpid(), number)
    time.sleep(60)


def once_killed(folder, value):
    """Be killed from outside the first time: the parent of the workers would not do that."""
    marker = folder / str(value)
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    return value


def workers_of(adapter):
    return [process for process in adapter.tree() if is_worker(process, adapter)]


def is_worker(process, adapter):
    try:
        return process.pid != adapter.process.pid and process.parent().pid != adapter.process.pid
    except psutil.NoSuchProcess:
        return False


def start_all(address, order):
    commands = {
        "scheduler": lambda: Command("scaler_scheduler", address, "-pc", VANILLA),
        "native": lambda: Command("scaler_adapter_native", address, "--max-workers", 4),
        "fixed": lambda: Command("scaler_adapter_fixed_native", address, "--max-workers", 2),
    }
    return {name: commands[name]() for name in order}


@pytest.mark.parametrize(
    "order", [("scheduler", "native", "fixed"), ("fixed", "native", "scheduler"), ("native", "scheduler", "fixed")]
)
def test_the_commands_may_come_in_any_order(order):
    address = free_address()
    commands = start_all(address, order)
    try:
        with Client(address) as client:
            assert client.map(double, range(1000)) == [2 * n for n in range(1000)]
    finally:
        codes = {name: command.stop() for name, command in commands.items()}
    assert codes == dict.fromkeys(order, 0)


def test_every_way_to_call():
    with scheduler(policy=VANILLA) as (_, address), running("scaler_adapter_native", address, "--max-workers", 2):
        client = Client(address)
        assert client.submit(double, 21).result() == 42
        assert client.map(double, [1, 2, 3]) == [2, 4, 6]
        assert client.map(add, [1, 2], [10, 20]) == [11, 22]
        assert client.starmap(add, [(1, 2), (3, 4)]) == [3, 7]
        futures = [client.submit(add, number, right=1) for number in range(20)]
        assert {future.result() for future in concurrent.futures.as_completed(futures)} == set(range(1, 21))
        done, pending = concurrent.futures.wait(futures)
        assert (len(done), len(pending)) == (20, 0)
        heard = []
        futures[0].add_done_callback(heard.append)
        assert heard == [futures[0]]
        assert client.submit(lambda: 7).result() == 7
        client.disconnect()


def test_a_tasks_exception_arrives_with_its_remote_traceback():
    with SchedulerClusterCombo(n_workers=1) as combo, Client(combo.get_address()) as client:
        future = client.submit(fail, "the missing key")
        with pytest.raises(KeyError, match="the missing key") as caught:
            future.result()
        assert "in fail" in str(caught.value.__cause__) + "".join(getattr(caught.value, "__notes__", []))
        with pytest.raises(KeyError):
            client.map(fail, ["a", "b"])
        assert client.submit(double, 1).result() == 2


def test_workers_come_with_the_tasks_all_together_go_after_the_cooldown_and_come_back_from_zero():
    with (
        scheduler(policy=VANILLA) as (command, address),
        running("scaler_adapter_native", address, "--max-workers", 8) as adapter,
        Client(address) as client,
    ):
        for _ in range(2):
            wait_until(lambda: not workers_of(adapter))
            pids = {future.result() for future in [client.submit(pid_after, 0.05) for _ in range(100)]}
            assert len(pids) == 8
        wait_until(lambda: not workers_of(adapter))
        asked = [line for line in command.lines if "more worker groups" in line]
        assert sum("asking" in line for line in asked) <= 6


def test_a_worker_killed_with_tasks_on_it_costs_no_result():
    with SchedulerClusterCombo(n_workers=3) as combo, Client(combo.get_address()) as client:
        assert client.submit(double, 1).result() == 2
        futures = [client.submit(pid_after, 0.02) for _ in range(150)]
        os.kill(futures[0].result(), signal.SIGKILL)
        pids = [future.result() for future in futures]
        assert len(pids) == 150
        assert client.map(double, range(100)) == [2 * n for n in range(100)]


def test_a_task_whose_worker_is_killed_runs_again(tmp_path):
    with (
        scheduler(policy=VANILLA) as (_, address),
        running("scaler_adapter_native", address, "--max-workers", 2),
        Client(address) as client,
    ):
        assert client.submit(once_killed, tmp_path, 5).result() == 5


def test_a_task_that_kills_every_worker_fails_with_the_history():
    with (
        scheduler("--task-retry-limit", 1, policy=VANILLA) as (_, address),
        running("scaler_adapter_native", address, "--max-workers", 2),
        Client(address) as client,
    ):
        with pytest.raises(WorkerDiedError, match="SIGKILL"):
            client.submit(end_by_signal, signal.SIGKILL).result()
        assert client.submit(double, 4).result() == 8


@pytest.mark.parametrize(
    ("call", "expected"),
    [((leave, 3), {"exit_code": 3}), ((end_by_signal, signal.SIGSEGV), {"signal_name": "SIGSEGV"})],
)
def test_a_task_that_ends_its_process_is_told_at_once_and_the_worker_goes_on(call, expected):
    with SchedulerClusterCombo(n_workers=1) as combo, Client(combo.get_address()) as client:
        with pytest.raises(ProcessorDiedError) as caught:
            client.submit(*call).result()
        assert {name: getattr(caught.value, name) for name in expected} == expected
        assert client.submit(double, 4).result() == 8


def end_at_work(client, futures, command, end):
    """Have a command run some tasks, and end it while it has others: with those that it leaves the next begins."""
    done = sum(future.done() for future in futures)
    futures += [client.submit(pid_after, 0.01) for _ in range(300)]
    wait_until(lambda: sum(future.done() for future in futures) > done)
    end(command)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_with_its_workers(number):
    counts = {
        "scaler_adapter_native": "--max-workers",
        "scaler_adapter_fixed_native": "--max-workers",
        "scaler_cluster": "--num-of-workers",
    }
    codes, futures = {}, []
    with scheduler(policy=VANILLA) as (_, address), Client(address) as client:
        for module, count in counts.items():
            command = Command(module, address, count, 2)
            end_at_work(client, futures, command, lambda ended, of=module: codes.update({of: ended.stop(number)}))
        with running("scaler_adapter_native", address, "--max-workers", 2):
            assert all(future.result() > 0 for future in futures)
    assert codes == dict.fromkeys(counts, 0)


def test_kill_9_of_an_adapter_leaves_no_worker_and_its_tasks_move():
    futures = []
    with scheduler(policy=VANILLA) as (_, address), Client(address) as client:
        for module in ("scaler_adapter_native", "scaler_adapter_fixed_native"):
            end_at_work(client, futures, Command(module, address, "--max-workers", 2), Command.kill)
        with running("scaler_adapter_native", address, "--max-workers", 2):
            assert all(future.result() > 0 for future in futures)


def test_scaling_off_is_one_clear_warning_in_log_and_client():
    with scheduler() as (command, address), running("scaler_adapter_native", address, "--max-workers", 2) as adapter:
        command.wait_for_line("joined")
        with Client(address) as client, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            client.submit(double, 1)
            client.submit(double, 2)
            command.wait_for_line("--policy-content")
            wait_until(lambda: caught)
        (warning,) = caught
        assert warning.category is SchedulerWarning
        assert '--policy-content "allocate=even_load; scaling=vanilla"' in str(warning.message)
        assert sum("--policy-content" in line for line in command.lines) == 1
        assert workers_of(adapter) == []


def test_a_cluster_serves_a_scheduler_that_runs():
    with scheduler() as (_, address), Cluster(address=address, n_workers=2) as cluster, Client(address) as client:
        assert cluster.is_alive()
        assert client.map(double, range(10)) == [2 * n for n in range(10)]


def test_futures_survive_a_scheduler_that_is_killed_and_started_again():
    address = free_address()
    first = Command("scaler_scheduler", address)
    with running("scaler_adapter_fixed_native", address, "--max-workers", 2), Client(address) as client:
        futures = [client.submit(pid_after, 0.02) for _ in range(200)]
        assert futures[0].result() > 0
        first.kill()
        with running("scaler_scheduler", address):
            assert all(future.result() > 0 for future in futures)
