"""What follows when a process, or the zygote that forks them, cannot be had: nobody is left half begun."""

import asyncio
import os
import signal

import pytest

from scaler_runtime.zygote import Ended, Said, Started, ZygoteEnded
from scaler_worker import processes as module
from scaler_worker.hosted import ENDED, STARTING
from scaler_worker.processes import Processes
from scaler_worker.record import SLICE


class Zygote:
    """Takes what is asked of it down, and forks nothing."""

    def __init__(self, *_):
        self.pid = os.getpid()
        self.started = []
        self.said = []
        self.reader, self.writer = os.pipe()

    def fileno(self):
        return self.reader

    def start(self, key, *_, **__):
        self.started.append(key)

    def signal(self, key, number):
        raise AssertionError(f"signal {number} for {key}")

    def events(self):
        said, self.said = self.said, []
        return said

    def close(self):
        os.close(self.reader)
        os.close(self.writer)


class Bench:
    """The processes of a host, with a zygote that says what a test wants."""

    def __init__(self):
        self.zygote = Zygote()
        self.failure = None
        self.sent = []
        self.processes = Processes(
            self.zygote,
            arguments=self.arguments,
            timeout_seconds=0,
            memory_of=lambda _: 0,
            send=self.sent.append,
            changed=lambda: None,
        )

    def arguments(self, worker):
        if self.failure is not None:
            raise self.failure
        return worker.worker_id

    def say(self, *events):
        self.zygote.said += events
        self.processes._on_zygote_events()

    def start(self, worker_id, lender=""):
        self.processes.start(worker_id, "group", {}, lender)


@pytest.fixture
def run():
    """Return a function that runs a test's steps on a bench, in a loop."""

    def run(steps):
        async def within():
            bench = Bench()
            try:
                steps(bench)
            finally:
                bench.processes.close()

        asyncio.run(within())

    return run


@pytest.mark.parametrize("lender", ["", "Worker|lender|1"])
def test_what_could_not_be_started_never_was(run, lender):
    def steps(bench):
        bench.failure = FileNotFoundError("the working directory is gone")
        with pytest.raises(FileNotFoundError):
            bench.start("a", lender)

        assert bench.processes.living() == []
        assert bench.processes.find("a") is None

        bench.failure = None
        bench.start("a", lender)
        (worker,) = bench.processes.living()
        assert bench.processes.find("a") is worker
        assert worker.slot == 0, "its record is used again"

    run(steps)


def test_where_no_zygote_could_be_made_the_next_worker_tries_again(run, monkeypatch):
    fresh = []

    def make(*_):
        if not fresh:
            fresh.append(None)
            raise OSError("too many processes")
        fresh.append(Zygote())
        return fresh[-1]

    monkeypatch.setattr(module, "Zygote", make)

    def steps(bench):
        bench.processes._zygote_failed = True
        with pytest.raises(OSError, match="too many"):
            bench.start("a")
        bench.start("b")

        assert bench.zygote.started == []
        assert [key.startswith("b") for key in fresh[1].started] == [True]
        asyncio.get_running_loop().remove_reader(bench.zygote.fileno())
        bench.zygote.close()

    run(steps)


def begin(bench, worker_id):
    """Start a worker that becomes ready and begins a task; return its key."""
    bench.start(worker_id)
    key = bench.zygote.started[-1]
    bench.say(Started(key, 1), Said(key, ("ready",)))
    bench.processes.find(worker_id).record.numbers[SLICE] = 7
    return key


def crashed(key):
    return Ended(key, 1, None, signal.SIGSEGV)


def test_a_worker_whose_process_has_crashed_gets_another_one(run):
    def steps(bench):
        bench.say(crashed(begin(bench, "a")))

        (worker,) = bench.processes.living()
        assert (worker.worker_id, worker.incarnation, worker.state) == ("a", 2, STARTING)
        assert [message.replaced for message in bench.sent] == [True]

    run(steps)


@pytest.mark.parametrize(("said", "code", "in_order"), [("leaving", 0, True), ("leaving", 1, False), (None, 0, False)])
def test_one_that_ended_as_its_scheduler_did_has_ended_in_order(run, said, code, in_order):
    def steps(bench):
        bench.start("a")
        (key,) = bench.zygote.started
        words = [Said(key, (said, "the scheduler ends"))] if said else []
        bench.say(Started(key, 1), Said(key, ("ready",)), *words, Ended(key, 1, code, None))

        status = bench.processes.find("a").status
        assert (status.state, status.in_order) == (ENDED, in_order)

    run(steps)


def test_one_that_cannot_get_another_one_has_ended(run):
    def steps(bench):
        key = begin(bench, "a")
        bench.failure = FileNotFoundError("the working directory is gone")
        bench.say(crashed(key))

        assert bench.processes.living() == []
        worker = bench.processes.find("a")
        assert worker.state == ENDED
        assert "the working directory is gone" in worker.reason

    run(steps)


def test_where_there_can_be_no_other_zygote_all_have_ended_and_the_next_worker_tries_again(run, monkeypatch):
    fresh = []

    def make(*_):
        if not fresh:
            fresh.append(None)
            raise OSError("too many processes")
        fresh.append(Zygote())
        return fresh[-1]

    monkeypatch.setattr(module, "Zygote", make)

    def steps(bench):
        for worker_id in "ab":
            begin(bench, worker_id)
        bench.say(ZygoteEnded("it was killed"))

        assert bench.processes.living() == []
        assert [bench.processes.find(worker_id).state for worker_id in "ab"] == [ENDED] * 2
        assert [message.replaced for message in bench.sent] == [False] * 2
        assert all("too many processes" in message.detail for message in bench.sent)

        bench.start("c")
        assert [key.startswith("c") for key in fresh[1].started] == [True]
        bench.zygote.close()

    run(steps)
