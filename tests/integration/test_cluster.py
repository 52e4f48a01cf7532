"""Schedulers and workers started from Python: they do real work, and nothing of them is left however it ends."""

import gc
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from scaler_client.client import Client
from scaler_client.exceptions import ClientShutdownException
from scaler_cluster.cluster import Cluster
from scaler_cluster.combo import SchedulerClusterCombo
from scaler_cluster.launcher import StartError
from scaler_scheduler.config import PolicyConfig
from tests.integration.commands import PATIENCE_SECONDS, is_alive, running, scheduler, wait_until

pytestmark = pytest.mark.integration


def square(number):
    return number * number


def where_am_i(_):
    return os.getpid(), str(Path.cwd())


def begin(path):
    path.touch()
    time.sleep(0.5)
    return "done"


@contextmanager
def nothing_left():
    """Fail if a process that was started within the block outlives it; gives a function that notes the living ones."""
    before = set(psutil.Process().children(recursive=True))
    started = set()

    def note():
        started.update(set(psutil.Process().children(recursive=True)) - before)
        return [process for process in started if is_alive(process)]

    yield note
    assert_gone(started)


def assert_gone(processes):
    wait_until(lambda: not any(map(is_alive, processes)), lambda: f"left over: {[p for p in processes if is_alive(p)]}")


class Script:
    """A user's program in a process of its own; it waits for a line before it ends."""

    def __init__(self, path, text):
        path.write_text(text + "input()\n")
        self.process = subprocess.Popen(
            [sys.executable, str(path)],
            cwd=path.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.children = []

    def read(self):
        """Return its next line, and note what it has started."""
        line = self.process.stdout.readline()
        assert line, self.process.communicate(timeout=PATIENCE_SECONDS)[1]
        self.children = psutil.Process(self.process.pid).children(recursive=True)
        return line.strip()

    def end(self, number=None):
        """Let it end, or end it by a signal; nothing may be left. Returns (exit code, the rest of what it wrote)."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate("\n", timeout=PATIENCE_SECONDS)
        assert_gone(self.children)
        return self.process.returncode, out + err


# ---- the combo


def test_a_combo_does_work_and_leaves_nothing():
    with (
        nothing_left() as note,
        SchedulerClusterCombo(2, logging_level="WARNING") as combo,
        Client(combo.get_address()) as client,
    ):
        assert client.map(square, range(1000)) == [number * number for number in range(1000)]
        assert client.submit(where_am_i, 0).result()[1] == str(Path.cwd())
        assert len(note()) >= 4  # launcher, scheduler, cluster, workers


def test_a_combo_that_is_dropped_ends():
    with nothing_left() as note:
        combo = SchedulerClusterCombo(1, logging_level="WARNING")
        assert note()
        del combo
        gc.collect()


def test_a_combo_listens_where_it_is_told(tmp_path):
    with SchedulerClusterCombo(1, address=f"ipc://{tmp_path}/scheduler", logging_level="WARNING") as combo:
        assert combo.get_address() == f"ipc://{tmp_path}/scheduler"
        with Client(combo.get_address()) as client:
            assert client.submit(square, 3).result() == 9


def test_a_port_in_use_is_an_error_that_names_it():
    with nothing_left(), socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StartError, match=f"{address}: Address already in use"):
            SchedulerClusterCombo(1, address=address)


def test_a_log_that_cannot_be_written_is_an_error_that_names_it():
    with nothing_left(), pytest.raises(StartError, match="logging_paths: cannot write to '/nowhere/log'"):
        SchedulerClusterCombo(1, logging_paths=("/nowhere/log",))


def test_workers_of_a_combo_offer_its_capabilities():
    policy = PolicyConfig(policy_content="allocate=capability; scaling=no")
    with (
        SchedulerClusterCombo(
            1, per_worker_capabilities={"gpu": 2}, scaler_policy=policy, logging_level="WARNING"
        ) as combo,
        Client(combo.get_address()) as client,
    ):
        assert client.submit_verbose(square, (3,), capabilities={"gpu": 1}).result() == 9


def test_a_combo_that_shuts_down_lets_a_task_finish_and_says_so_of_the_rest(tmp_path):
    combo = SchedulerClusterCombo(1, logging_level="WARNING")
    with Client(combo.get_address()) as client:
        begun = tmp_path / "begun"
        first, waiting = client.submit(begin, begun), client.submit(time.sleep, 600)
        wait_until(begun.exists)
        combo.shutdown()
        assert first.result() == "done"
        with pytest.raises(ClientShutdownException):
            waiting.result(PATIENCE_SECONDS)


def test_a_combo_shuts_down_in_time_while_a_task_runs():
    with nothing_left() as note:
        combo = SchedulerClusterCombo(1, logging_level="WARNING")
        with Client(combo.get_address()) as client:
            started = client.submit(square, 2)
            assert started.result() == 4
            client.submit(time.sleep, 600)
            note()
            began_at = time.monotonic()
            combo.shutdown()
            assert time.monotonic() - began_at < 15


# ---- scripts that use a combo

UNGUARDED = """\
from scaler import Client, SchedulerClusterCombo
from beside import triple

def double(number):
    return 2 * triple(number)

combo = SchedulerClusterCombo(n_workers=2, logging_level="WARNING")
client = Client(combo.get_address())
print(client.map(double, range(5)), flush=True)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "beside.py").write_text("def triple(number):\n    return 3 * number\n")
    return tmp_path


def test_an_unguarded_script_whose_workers_import_what_lies_beside_it(folder):
    script = Script(folder / "script.py", UNGUARDED)

    assert script.read() == "[0, 6, 12, 18, 24]"
    assert len(script.children) >= 4  # launcher, scheduler, cluster, workers
    assert script.end() == (0, "")


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: signal.Signals(number).name
)
def test_nothing_is_left_of_a_script_that_is_ended_by_a_signal(folder, number):
    script = Script(folder / "script.py", UNGUARDED)
    script.read()

    assert len(script.children) >= 4
    assert script.end(number)[0] == -number


def test_a_child_that_a_script_forks_does_not_end_its_combo(folder):
    forking = (
        "import os, sys\nif os.fork() == 0:\n    sys.exit()\nos.wait()\nprint(client.map(double, [1]), flush=True)\n"
    )
    script = Script(folder / "script.py", UNGUARDED + forking)
    script.read()

    assert script.read() == "[6]"
    assert script.end() == (0, "")


# ---- clusters


def test_a_cluster_serves_a_scheduler_that_runs_elsewhere():
    with nothing_left() as note, scheduler() as (_, address):
        cluster = Cluster(address=address, n_workers=2, worker_names=["alice", "bob"], logging_level="WARNING")
        with cluster, Client(address) as client:
            assert client.map(square, range(100)) == [number * number for number in range(100)]
            note()
            assert psutil.Process(cluster.pid).is_running()
            assert cluster.is_alive()
            pids = {pid for pid, _ in client.map(where_am_i, range(500))}
            assert os.getpid() not in pids
        assert not cluster.is_alive()
        assert cluster.exitcode == 0


def test_a_cluster_waits_for_a_scheduler_that_comes_later(tmp_path):
    address = f"ipc://{tmp_path}/scheduler"
    with nothing_left(), Cluster(address=address, n_workers=1, logging_level="WARNING") as cluster:
        assert cluster.pid is not None
        with running("scaler_scheduler", address), Client(address) as client:
            assert client.submit(square, 5).result() == 25


def test_killing_a_cluster_ends_its_workers():
    with nothing_left() as note, scheduler() as (_, address):
        cluster = Cluster(address=address, n_workers=2, logging_level="WARNING")
        cluster.start()
        with Client(address) as client:
            assert client.submit(square, 5).result() == 25
        note()
        cluster.kill()
        cluster.join(PATIENCE_SECONDS)
        assert cluster.exitcode == -signal.SIGKILL


def test_a_cluster_without_workers_ends_at_once():
    with nothing_left(), scheduler() as (_, address):
        cluster = Cluster(address=address, n_workers=0)
        cluster.start()
        cluster.join(PATIENCE_SECONDS)
        assert cluster.exitcode == 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
def test_a_cluster_that_is_shut_down_while_it_begins_has_ended_in_order(share):
    with nothing_left() as note:
        cluster = Cluster("tcp://127.0.0.1:1", n_workers=1, logging_level="WARNING")
        cluster.start()
        note()
        time.sleep(share * 0.3)  # nothing is waited for: the moment is what is tested
        cluster.shutdown()

    assert cluster.exitcode == 0


def test_a_started_cluster_ends_with_the_script(folder):
    with scheduler() as (_, address):
        script = Script(
            folder / "script.py",
            f"from scaler import Cluster\ncluster = Cluster({address!r}, 1, logging_level='WARNING')\n"
            "cluster.start()\nprint(cluster.pid, flush=True)\n",
        )
        assert int(script.read()) in {process.pid for process in script.children}
        assert script.end() == (0, "")


def test_the_command_serves_a_scheduler():
    with scheduler() as (_, address), running("scaler_cluster", address, "-n", "1"), Client(address) as client:
        assert client.submit(square, 5).result() == 25
