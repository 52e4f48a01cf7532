"""What tasks write, at the client that asked for it: real workers, this process's own standard output and error."""

import os
import signal
import sys
import threading

import psutil
import pytest

from scaler import Client
from scaler.utility.exceptions import ProcessorDiedError
from tests.integration import output_tasks as tasks
from tests.integration.commands import is_alive, running, scheduler, wait_until

pytestmark = pytest.mark.integration

ADAPTER = "scaler_adapter_fixed_native"


class Site:
    """A scheduler and one worker, whose own output is not this process's."""

    def __init__(self, address, workers):
        self.address = address
        self.workers = workers

    def client(self, **options):
        return Client(self.address, **{"stream_output": True, **options})


@pytest.fixture(params=[1])
def site(request):
    with scheduler() as (_, address), running(ADAPTER, address, "--max-workers", request.param) as workers:
        yield Site(address, workers)


def lines_of(data):
    return sorted(data.splitlines())


def test_every_way_to_write_arrives_unchanged_before_the_result(site, capfdbinary):
    with site.client() as client:
        assert client.submit(tasks.write_in_every_way, 1).result() == 1
        out, err = capfdbinary.readouterr()
    assert lines_of(out) == [b"C 1", b"bytes \xff 1", b"child 1", b"half a line 1", b"text 1"]
    assert lines_of(err) == [b"child error 1", b"error 1"]
    assert "text 1" not in site.workers.output


def test_map_streams_too(site, capfd):
    with site.client() as client:
        client.map(tasks.say, [f"word {number}" for number in range(1000)])
        assert capfd.readouterr().out.splitlines() == [f"word {number}" for number in range(1000)]


def test_without_it_the_output_is_the_workers(site, capfd):
    with site.client(stream_output=False) as client:
        client.submit(tasks.say, "for the log").result()
        site.workers.wait_for_line("for the log")
    assert "for the log" not in capfd.readouterr().out


def test_each_client_gets_its_own(site, capfd):
    with site.client() as one, site.client(stream_output=False) as none, site.client() as other:
        for number in range(5):
            for name, client in (("one", one), ("none", none), ("other", other)):
                client.submit(tasks.say, f"{name} {number}").result()
            expected = [f"one {number}", f"other {number}"]
            assert capfd.readouterr().out.splitlines() == expected
    assert sum(line.startswith("none") for line in site.workers.lines) == 5


def test_a_task_that_raises_has_been_heard(site, capfd):
    with site.client() as client:
        with pytest.raises(KeyError):
            client.submit(tasks.say_and_raise, "half a line").result()
        assert capfd.readouterr().out == "half a line"


@pytest.mark.parametrize("how", [3, "null", "abort"])
def test_the_last_words_of_a_task_that_ends_its_process_arrive(site, capfd, how):
    with site.client() as client:
        with pytest.raises(ProcessorDiedError) as caught:
            client.submit(tasks.say_and_die, "at the end", how).result()
        out, err = capfd.readouterr()
        assert out == "at the end out\n"
        assert err.startswith("at the end err\n")
        assert caught.value.stderr_tail.startswith("at the end err\n")
        assert ("die" in caught.value.stderr_tail) is (how != 3)
        assert client.submit(tasks.say, "again").result() == "again"
        assert capfd.readouterr().out == "again\n"


def test_a_process_that_a_task_left_behind_holds_nothing_up_and_is_heard(site, capfd, tmp_path):
    path = tmp_path / "now"
    with site.client() as client:
        behind = psutil.Process(client.submit(tasks.leave_behind, path).result())
        with site.client() as other:
            assert other.submit(tasks.say, "other").result() == "other"
            assert client.submit(tasks.say, "same").result() == "same"
        path.touch()
        wait_until(lambda: not is_alive(behind))
        heard = []
        wait_until(lambda: heard.append(capfd.readouterr().out) or "from behind" in "".join(heard))


def test_output_comes_while_the_task_runs(site, capfd, tmp_path):
    path = tmp_path / "go on"
    with site.client() as client:
        future = client.submit(tasks.wait_for, path)
        heard = []
        wait_until(lambda: heard.append(capfd.readouterr().out) or "waiting" in "".join(heard))
        assert not future.done()
        path.touch()
        future.result()


def test_a_flood_waits_for_a_terminal_that_is_slow(site, monkeypatch):
    size = 256 << 20
    read, write = os.pipe()
    processes = [psutil.Process(), *site.workers.tree()]
    before = {process.pid: process.memory_info().rss for process in processes}
    peak = dict(before)
    received = [0]
    goes_on = threading.Event()

    def read_slowly():
        assert goes_on.wait(60)
        while data := os.read(read, 1 << 16):
            received[0] += len(data)
            if received[0] % (1 << 23) < len(data):
                for process in processes:
                    peak[process.pid] = max(peak[process.pid], process.memory_info().rss)

    reader = threading.Thread(target=read_slowly)
    reader.start()
    with site.client() as client:
        with os.fdopen(write, "w") as terminal:
            monkeypatch.setattr(sys, "stdout", terminal)
            future = client.submit(tasks.flood, size)
            wait_until(lambda: client._agent._is_holding)
            assert client.submit(abs, -1).done() is False
            goes_on.set()
            future.result()
            monkeypatch.undo()
        reader.join()
    os.close(read)
    assert received[0] == size
    for pid, resident in peak.items():
        assert resident - before[pid] < 100 << 20


def test_cancelling_ends_a_task_that_waits_for_a_slow_terminal(site, monkeypatch):
    read, write = os.pipe()
    with os.fdopen(read, "rb") as ours:
        with os.fdopen(write, "w") as terminal, site.client() as client:
            monkeypatch.setattr(sys, "stdout", terminal)
            future = client.submit(tasks.flood, 256 << 20)
            wait_until(lambda: client._agent._is_holding)
            assert future.cancel(60)
            reader = threading.Thread(target=ours.read)
            reader.start()
            monkeypatch.undo()
        reader.join()


def test_a_scheduler_that_stands_still_holds_output_up_and_loses_none(capfd):
    with (
        scheduler() as (command, address),
        running(ADAPTER, address, "--max-workers", 1),
        Client(address, stream_output=True) as client,
    ):
        client.submit(tasks.say, "ready").result()
        os.kill(command.process.pid, signal.SIGSTOP)
        future = client.submit(tasks.flood, 4 << 20)
        os.kill(command.process.pid, signal.SIGCONT)
        future.result()
        assert capfd.readouterr().out == "ready\n" + ("x" * 65535 + "\n") * 64
