"""What the scheduler promises to clients that are many, greedy, stopped or killed: by order, never by time."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import zmq

from scaler import Client
from scaler.utility.exceptions import ClientQuitException, SchedulerFullError, WorkerDiedError
from tests.integration.commands import PATIENCE_SECONDS, is_alive, running, scheduler, wait_until
from tests.integration.monitor_feed import Subscriber
from tests.integration.worker_tasks import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

FIXED = "scaler_adapter_fixed_native"
MILLION = 1_000_000


class Program:
    """A client in a process of its own, which may be stopped and killed."""

    def __init__(self, call, *arguments):
        text = f"from tests.integration.test_promises_of_the_scheduler import *; {call}(*{json.dumps(arguments)})"
        self.process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)

    def end(self):
        """Return what it said, once it has ended by itself."""
        said, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        assert self.process.returncode == 0
        return said.strip()

    def kill(self):
        self.process.kill()
        self.process.communicate(timeout=PATIENCE_SECONDS)


# ---- tasks


class Ticks:
    """Counts in the process of its worker."""

    seen = 0


def tick(_):
    Ticks.seen += 1
    for _ in range(1000):
        pass


def ticks():
    return Ticks.seen


def note_and_sleep(folder, name):
    (Path(folder) / name).write_text(str(os.getpid()))
    time.sleep(PATIENCE_SECONDS)


def note(folder, name):
    (Path(folder) / name).touch()


def begin(folder):
    (Path(folder) / "begun").touch()
    wait_for(f"{folder}/open")
    return 1


def double(value):
    return 2 * value


def end(folder, value):
    (Path(folder) / "ended").write_text(str(value))
    return value


def nap(seconds):
    time.sleep(seconds)
    return seconds


def hold_memory():
    """Take 64 MiB until the end of the process."""
    taken = bytearray(os.urandom(1 << 20) * 64)
    threading.Event().wait()
    return taken


def kill_what_holds_memory(feed, command, seen):
    """Kill the worker that is seen to hold much, one that was not seen before."""
    report = feed.report_where(
        lambda report: any(w.rss >= 64 << 20 and w.worker_id not in seen for w in report.workers)
    )
    seen.update(worker.worker_id for worker in report.workers)
    (holder,) = (process for process in command.tree() if process.memory_info().rss >= 64 << 20)
    holder.kill()


# ---- programs


def run_graph(address, folder):
    with Client(address) as client:
        graph = {"folder": folder, "a": (begin, "folder"), "b": (double, "a"), "c": (double, "b")}
        graph["d"] = (end, "folder", "c")
        print(client.get(graph, ["d"]))  # noqa: T201 - this is a program


def submit_and_wait(address, folder):
    with Client(address) as client:
        futures = [client.submit(note_and_sleep, folder, "running"), client.submit(note, folder, "queued")]
        futures[0].result()


# ---- tests


def test_a_client_with_a_million_tasks_does_not_hold_up_the_single_ones_of_another():
    with (
        scheduler() as (_, address),
        running(FIXED, address, "--max-workers", 1),
        Client(address) as greedy,
        Client(address) as modest,
    ):
        failure = []

        def submit_all():
            try:
                greedy.map(tick, range(MILLION))
            except (CancelledError, ClientQuitException) as error:
                failure.append(error)

        thread = threading.Thread(target=submit_all)
        thread.start()
        wait_until(lambda: modest.submit(ticks).result(PATIENCE_SECONDS) > 0)
        seen = [modest.submit(ticks).result(PATIENCE_SECONDS) for _ in range(10)]
        assert thread.is_alive()
        greedy.disconnect()
        thread.join(PATIENCE_SECONDS)

    assert failure, "the million was over before the others had their turn"
    assert 0 < seen[0] <= seen[-1] < MILLION / 2
    assert all(later - earlier < MILLION / 10 for earlier, later in pairwise(seen))


def test_results_go_from_task_to_task_while_the_client_stands_still(tmp_path):
    with scheduler() as (_, address), running(FIXED, address, "--max-workers", 2):
        program = Program("run_graph", address, str(tmp_path))
        wait_until((tmp_path / "begun").exists)
        program.process.send_signal(signal.SIGSTOP)
        (tmp_path / "open").touch()
        wait_until((tmp_path / "ended").exists)
        program.process.send_signal(signal.SIGCONT)

        assert program.end() == "{'d': 4}"
        assert (tmp_path / "ended").read_text() == "4"


def test_of_a_client_that_vanishes_what_runs_is_ended_and_what_is_queued_dropped(tmp_path):
    with (
        scheduler("--client-timeout-seconds", 1) as (command, address),
        running(FIXED, address, "--max-workers", 1),
    ):
        program = Program("submit_and_wait", address, str(tmp_path))
        running_task = tmp_path / "running"
        wait_until(lambda: running_task.exists() and running_task.read_text())
        process = psutil.Process(int(running_task.read_text()))
        program.kill()
        line = command.wait_for_line("left (")
        wait_until(lambda: not is_alive(process))

        assert "2 unfinished tasks dropped" in line
        with Client(address) as other:
            assert other.submit(double, 2).result(PATIENCE_SECONDS) == 4
        assert not (tmp_path / "queued").exists()


def test_what_waits_in_a_queue_does_not_count_for_the_task_timeout():
    with (
        scheduler() as (_, address),
        running(FIXED, address, "--max-workers", 1, "--task-timeout-seconds", 1),
        Client(address) as client,
    ):
        futures = [client.submit(nap, 0.5) for _ in range(4)]
        assert [future.result(PATIENCE_SECONDS) for future in futures] == [0.5] * 4


def test_a_task_too_many_is_refused_on_its_future_and_the_others_run(tmp_path):
    with (
        scheduler("--max-number-of-tasks-waiting", 2) as (_, address),
        running(FIXED, address, "--max-workers", 1, "--per-worker-task-queue-size", 1),
        Client(address) as client,
    ):
        first = client.submit(begin, str(tmp_path))
        wait_until((tmp_path / "begun").exists)
        futures = [client.submit(double, number) for number in range(4)]
        for future in futures[2:]:
            with pytest.raises(SchedulerFullError, match="2 tasks wait"):
                future.result(PATIENCE_SECONDS)
        (tmp_path / "open").touch()
        assert first.result(PATIENCE_SECONDS) == 1
        assert [future.result(PATIENCE_SECONDS) for future in futures[:2]] == [0, 2]
        assert client.submit(double, 9).result(PATIENCE_SECONDS) == 18


def test_tasks_go_where_their_capabilities_are_by_name_and_by_quantity():
    with (
        scheduler(policy="allocate=capability; scaling=no") as (_, address),
        running(FIXED, address, "--max-workers", 1, "--per-worker-capabilities", "gpu=2,linux"),
        running(FIXED, address, "--max-workers", 1, "--per-worker-capabilities", "gpu=1,ssd"),
        Client(address) as client,
    ):

        def place(**capabilities):
            futures = [client.submit_verbose(os.getpid, (), capabilities=capabilities) for _ in range(20)]
            return {future.result(PATIENCE_SECONDS) for future in futures}

        (large,), (fast,) = place(gpu=2), place(ssd=-1)
        assert large != fast
        assert place(linux=-1, gpu=1) == {large}
        assert place(gpu=1, ssd=-1) == {fast}
        assert place(gpu=1) <= {large, fast}
        nowhere = client.submit_verbose(os.getpid, (), capabilities={"gpu": 3})
        assert place(gpu=2) == {large}  # whoever waits for what nobody has blocks nobody
        with running(FIXED, address, "--max-workers", 1, "--per-worker-capabilities", "gpu"):
            assert nowhere.result(PATIENCE_SECONDS) not in {large, fast}


def test_a_task_that_was_lost_too_often_says_where_of_what_and_with_how_much_memory():
    policy = "allocate=even_load; scaling=vanilla(upper=1)"
    with (
        scheduler("--task-retry-limit", 1, policy=policy) as (command, address),
        running("scaler_adapter_native", address, "--max-workers", 1, "--heartbeat-interval-seconds", 1) as adapter,
        Client(address) as client,
        zmq.Context() as context,
    ):
        feed = Subscriber(context, command.wait_for_line("monitor listening on").split()[-1])
        future = client.submit(hold_memory)
        seen = set()
        for _attempt in range(2):
            kill_what_holds_memory(feed, adapter, seen)
        error = future.exception(PATIENCE_SECONDS)
        feed.socket.close()

    assert isinstance(error, WorkerDiedError)
    attempt = r"worker (Worker\|NAT\|[0-9a-f]{32}\|[0-9a-f]{32}) died of SIGKILL.* \((\d+) MiB in use"
    attempts = re.findall(attempt, str(error))
    assert len({worker for worker, _ in attempts}) == len(attempts) == 2
    assert all(64 <= int(memory) < 200 for _, memory in attempts)
