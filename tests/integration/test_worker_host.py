"""A worker host with real processes, against a scripted scheduler."""

import asyncio
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time

import psutil
import pytest
import uvloop
import zmq

from scaler_client.serializer import load_failure
from scaler_protocol import messages as m
from scaler_protocol.batch import U32, U64, Status, column, numbers
from scaler_protocol.identifiers import new_worker_id
from scaler_runtime.options import LoggingConfig, WorkerConfig
from scaler_worker.host import WorkerHost
from tests.integration import worker_tasks as tasks
from tests.integration.commands import is_alive, wait_until
from tests.integration.worker_scheduler import SECONDS, WorkerScheduler

pytestmark = pytest.mark.integration


class Site:
    """A scheduler and a host with workers."""

    def __init__(self, tmp_path, options):
        self.tmp_path = tmp_path
        self.scheduler = WorkerScheduler(tmp_path / "s")
        self.options = options
        self.context = zmq.Context()
        self.changed = asyncio.Event()
        self.pids = set()

    async def __aenter__(self):
        await self.scheduler.__aenter__()
        config = {key: self.options.pop(key) for key in list(self.options) if key in WorkerConfig.__dataclass_fields__}
        self.host = WorkerHost(
            self.context,
            self.scheduler.address,
            "NAT",
            WorkerConfig(**{"heartbeat_interval_seconds": 1, **config}),
            **{
                "preload": None,
                "object_storage_address": None,
                "io_threads": 1,
                "logging_config": LoggingConfig(),
                "on_change": self.changed.set,
                **self.options,
            },
        )
        return self

    async def __aexit__(self, *details):
        self.remember()
        await self.host.close()
        await self.scheduler.__aexit__()
        self.context.destroy(linger=0)
        living = [process for process in self.pids if is_alive(process)]
        psutil.wait_procs(living, 5)
        assert not [process for process in living if is_alive(process)], "processes are left"

    def remember(self):
        """Note every process there is below this one."""
        self.pids |= set(psutil.Process().children(recursive=True))

    async def start(self, count=1):
        """Start workers and wait until they are ready; returns their ids."""
        worker_ids = [new_worker_id("NAT") for _ in range(count)]
        for number, worker_id in enumerate(worker_ids):
            self.host.start(f"group-{number}", worker_id, {"gpu": number})
        for worker_id in worker_ids:
            await self.until_state(worker_id, "ready")
            await self.scheduler.until(lambda worker_id=worker_id: worker_id in self.scheduler.peers)
        self.remember()
        return worker_ids

    def status(self, worker_id):
        return self.host.workers()[worker_id]

    async def until(self, reached):
        async with asyncio.timeout(SECONDS):
            while not (result := reached()):
                self.changed.clear()
                await self.changed.wait()
        return result

    async def until_state(self, worker_id, state, incarnation=1):
        return await self.until(
            lambda: (status := self.status(worker_id)).state == state and status.incarnation == incarnation and status
        )

    async def ended(self, count=1):
        await self.scheduler.until(lambda: len(self.scheduler.ended) >= count)
        return self.scheduler.ended[-1]

    def record_says(self, worker_id, slice_id, task):
        running = self.host._processes.workers[worker_id].record.running()
        return running is not None and (running.slice_id, running.task) == (slice_id, task)

    async def until_running(self, worker_id, slice_id, task=0):
        async with asyncio.timeout(SECONDS):
            while not self.record_says(worker_id, slice_id, task):  # noqa: ASYNC110 - memory tells nobody that it changed
                await asyncio.sleep(0.005)


@pytest.fixture
def site(tmp_path):
    def run(scenario, loop_factory=None, **options):
        async def whole():
            async with Site(tmp_path, options) as made:
                await scenario(made)

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(whole())

    return run


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop], ids=["builtin", "uvloop"])
def test_workers_come_up_and_run_tasks(site, loop_factory):
    async def scenario(site):
        (worker,) = await site.start()
        hello = site.scheduler.hellos[worker]
        assert (hello.incarnation, hello.group_id, hello.capabilities) == (1, "group-0", {"gpu": 0})
        assert hello.host_id == site.host.host_id == site.scheduler.host
        assert hello.pid == site.status(worker).pid
        outcomes = await site.scheduler.outcomes(site.scheduler.run(worker, tasks.square, *range(100)), 100)
        assert pickle.loads(outcomes[0][1]) == [x * x for x in range(100)]
        await site.scheduler.until(lambda: site.scheduler.state(worker) == "running")
        assert site.host.heard_at is not None
        await site.host.drain(5)

    site(scenario, loop_factory)


def test_thirty_two_workers_at_once(site):
    async def scenario(site):
        workers = await site.start(32)
        slices = [site.scheduler.run(worker, tasks.pid_of, 0) for worker in workers]
        pids = {pickle.loads((await site.scheduler.outcomes(slice_id, 1))[0][1])[0] for slice_id in slices}
        assert len(pids) == 32

    site(scenario)


@pytest.mark.parametrize(
    ("what", "cause", "code"),
    [(3, "exit", 3), (0, "exit", 0), (-signal.SIGSEGV, "signal", 11), (-signal.SIGABRT, "signal", 6)],
)
def test_a_task_that_ends_its_process_is_named_and_the_process_replaced(site, what, cause, code):
    async def scenario(site):
        (worker,) = await site.start()
        first = site.scheduler.run(worker, tasks.square, 1, 2)
        await site.scheduler.outcomes(first, 2)
        slice_id = site.scheduler.run(worker, tasks.end_by, what, 1, 2)
        ended = await site.ended()
        assert (ended.worker_id, ended.incarnation, ended.cause, ended.code) == (worker, 1, cause, code)
        assert (ended.slice_id, ended.task, ended.replaced) == (slice_id, 0, True)
        assert f"while running task 0 of slice {slice_id}" in ended.detail
        await site.until_state(worker, "ready", incarnation=2)
        await site.scheduler.until(lambda: site.scheduler.hellos[worker].incarnation == 2)
        assert await site.scheduler.outcomes(site.scheduler.run(worker, tasks.square, 3), 1)

    site(scenario)


def test_a_process_killed_from_outside_is_lost(site):
    async def scenario(site):
        (worker,) = await site.start()
        slice_id = site.scheduler.run(worker, tasks.sleep, 60)
        await site.until_running(worker, slice_id)
        begun = time.monotonic()
        os.kill(site.status(worker).pid, signal.SIGKILL)
        ended = await site.ended()
        assert time.monotonic() - begun < 1
        assert (ended.cause, ended.code, ended.slice_id, ended.task) == ("signal", 9, slice_id, 0)
        assert not ended.replaced
        status = await site.until_state(worker, "ended")
        assert "SIGKILL" in status.reason
        await site.scheduler.until(lambda: site.scheduler.state(worker) is None)
        site.host.forget(worker)
        assert site.host.workers() == {}

    site(scenario)


def test_a_running_task_is_ended_on_request(site):
    async def scenario(site):
        (worker,) = await site.start()
        path = site.tmp_path / "pid"
        slice_id = site.scheduler.run(worker, tasks.start_sleeper, str(path))
        sleeper = int(await asyncio.to_thread(wait_until, lambda: path.exists() and path.read_text()))
        site.remember()
        site.scheduler.send(site.scheduler.host, m.EndTask(worker, 1, slice_id, 1))  # not that one
        site.scheduler.send(site.scheduler.host, m.EndTask(worker, 2, slice_id, 0))  # not that process
        site.scheduler.send(site.scheduler.host, m.EndTask(worker, 1, slice_id, 0))
        ended = await site.ended()
        assert (ended.cause, ended.code, ended.slice_id, ended.task, ended.replaced) == (
            "cancelled",
            signal.SIGTERM,
            slice_id,
            0,
            True,
        )
        await site.until_state(worker, "ready", incarnation=2)
        wait_until(lambda: not psutil.pid_exists(sleeper) or not is_alive(psutil.Process(sleeper)))

    site(scenario)


def test_a_stubborn_task_is_killed(site):
    async def scenario(site):
        (worker,) = await site.start()
        slice_id = site.scheduler.run(worker, tasks.be_stubborn, 60)
        await site.until_running(worker, slice_id)
        await asyncio.sleep(0.1)  # until it ignores the signal
        begun = time.monotonic()
        site.scheduler.send(site.scheduler.host, m.EndTask(worker, 1, slice_id, m.ANY_TASK))
        ended = await site.ended()
        assert (ended.cause, ended.code) == ("cancelled", signal.SIGKILL)
        assert 2.5 < time.monotonic() - begun < 6

    site(scenario)


def test_nobody_suffers_for_a_task_that_ended_in_time(site):
    async def scenario(site):
        (worker,) = await site.start()
        slice_id = site.scheduler.run(worker, tasks.be_stubborn, 1, 60)
        await site.until_running(worker, slice_id)
        await asyncio.sleep(0.1)  # until it ignores the signal
        site.scheduler.send(site.scheduler.host, m.EndTask(worker, 1, slice_id, 0))
        ended = await site.ended()
        assert (ended.cause, ended.code, ended.task, ended.replaced) == ("planned", signal.SIGKILL, 1, True)

    site(scenario)


def test_a_task_beyond_the_limit_is_ended(site):
    async def scenario(site):
        (worker,) = await site.start()
        done = site.scheduler.run(worker, tasks.sleep, 0.1, 0.2)
        slice_id = site.scheduler.run(worker, tasks.sleep, 0.5, 60)
        begun = time.monotonic()
        ended = await site.ended()
        assert 1.5 < time.monotonic() - begun < 5
        assert (ended.cause, ended.slice_id, ended.task, ended.replaced) == ("timeout", slice_id, 1, True)
        assert "limit of 1 seconds" in ended.detail
        await site.scheduler.outcomes(done, 2)
        await site.until_state(worker, "ready", incarnation=2)

    site(scenario, task_timeout_seconds=1)


def test_a_long_task_holds_up_no_finished_neighbour(site):
    async def scenario(site):
        (worker,) = await site.start()
        path = site.tmp_path / "go"
        slice_id = site.scheduler.run(worker, tasks.wait_for, str(site.tmp_path), str(path), str(site.tmp_path))
        begun = time.monotonic()
        await site.scheduler.until(lambda: any(run[0] == slice_id for run in site.scheduler.results))
        assert time.monotonic() - begun < 1
        assert site.record_says(worker, slice_id, 1)
        path.touch()
        await site.scheduler.outcomes(slice_id, 3)

    site(scenario)


def test_what_has_not_begun_is_given_back(site):
    async def scenario(site):
        (worker,) = await site.start()
        path = site.tmp_path / "go"
        running = site.scheduler.run(worker, tasks.wait_for, str(path), *[str(site.tmp_path)] * 9)
        waiting = site.scheduler.run(worker, tasks.square, *range(10))
        await site.until_running(worker, running)
        site.scheduler.send(
            site.scheduler.peers[worker], m.RecallSlices(column(U64, [running, waiting]), column(U32, [0, 0]))
        )
        (returned,) = await site.scheduler.until(lambda: site.scheduler.returned)
        assert list(numbers(U64, returned.slice_ids)) == [running, waiting]
        assert list(numbers(U32, returned.limits)) == [1, 0]
        path.touch()
        await site.scheduler.outcomes(running, 1)
        await site.scheduler.outcomes(site.scheduler.run(worker, tasks.square, 1), 1)
        assert not [run for run in site.scheduler.results if run[0] == waiting]

    site(scenario)


def test_failures_leave_the_process_alone(site):
    async def scenario(site):
        (worker,) = await site.start()
        (left,) = await site.scheduler.outcomes(site.scheduler.run(worker, tasks.leave, 4), 1)
        assert left[0] == Status.EXITED
        assert left[1].startswith(b"exit_code=4")
        (failed,) = await site.scheduler.outcomes(site.scheduler.run(worker, tasks.square, "x"), 1)
        assert isinstance(load_failure(failed[1]), TypeError)
        os.kill(site.status(worker).pid, signal.SIGINT)  # nothing runs: nothing happens
        await site.scheduler.outcomes(site.scheduler.run(worker, tasks.square, 1), 1)
        assert site.status(worker).incarnation == 1

    site(scenario)


def test_a_stopped_process_is_reported(site):
    async def scenario(site):
        (worker,) = await site.start()
        pid = site.status(worker).pid
        os.kill(pid, signal.SIGSTOP)
        await site.until_state(worker, "stopped")
        await site.scheduler.until(lambda: site.scheduler.state(worker) == "stopped")
        os.kill(pid, signal.SIGCONT)
        await site.until_state(worker, "ready")
        await site.scheduler.until(lambda: site.scheduler.state(worker) == "running")
        await site.scheduler.outcomes(site.scheduler.run(worker, tasks.square, 1), 1)

    site(scenario)


def test_a_worker_is_stopped_as_planned(site):
    async def scenario(site):
        first, second = await site.start(2)
        site.host.stop(first)
        assert site.status(first).state == "stopping"
        ended = await site.ended()
        assert (ended.worker_id, ended.cause, ended.replaced) == (first, "planned", False)
        await site.until_state(first, "ended")
        slice_id = site.scheduler.run(second, tasks.be_stubborn, 60)
        await site.until_running(second, slice_id)
        site.host.stop(second, kill=True)
        assert (await site.ended(2)).code == signal.SIGKILL

    site(scenario)


def test_a_new_zygote_takes_the_place_of_one_that_was_killed(site):
    async def scenario(site):
        workers = await site.start(3)
        slice_id = site.scheduler.run(workers[0], tasks.sleep, 60)
        await site.until_running(workers[0], slice_id)
        os.kill(site.host._processes.zygote.pid, signal.SIGKILL)
        await site.ended(3)
        ends = {ended.worker_id: ended for ended in site.scheduler.ended}
        assert set(ends) == set(workers)
        assert {(ended.cause, ended.code, ended.replaced) for ended in ends.values()} == {("signal", 9, True)}
        assert (ends[workers[0]].slice_id, ends[workers[1]].slice_id) == (slice_id, 0)
        for worker in workers:
            await site.until_state(worker, "ready", incarnation=2)
        site.remember()
        await site.scheduler.until(lambda: {hello.incarnation for hello in site.scheduler.hellos.values()} == {2})
        await site.scheduler.outcomes(site.scheduler.run(workers[0], tasks.square, 1), 1)

    site(scenario)


def test_a_zygote_that_is_stopped_for_too_long_is_replaced(site, monkeypatch):
    monkeypatch.setattr("scaler_worker.processes.ZYGOTE_STOPPED_SECONDS", 1.0)

    async def scenario(site):
        (worker,) = await site.start(1)
        before = site.host._processes.zygote.pid
        os.kill(before, signal.SIGSTOP)
        await site.until_state(worker, "ready", incarnation=2)
        site.remember()
        assert site.host._processes.zygote.pid != before
        await site.scheduler.until(lambda: site.scheduler.hellos[worker].incarnation == 2)
        await site.scheduler.outcomes(site.scheduler.run(worker, tasks.square, 1), 1)

    site(scenario)


def test_a_draining_host_waits_for_its_workers(site):
    async def scenario(site):
        idle, busy = await site.start(2)
        site.scheduler.drains = False
        path = site.tmp_path / "go"
        slice_id = site.scheduler.run(busy, tasks.wait_for, str(path))
        await site.until_running(busy, slice_id)
        drain = asyncio.create_task(site.host.drain(SECONDS))
        await site.scheduler.until(lambda: site.scheduler.state(busy) == site.scheduler.state(idle) == "draining")
        site.scheduler.send(site.scheduler.host, m.WorkersDrained([idle]))
        assert (await site.ended()).worker_id == idle
        assert site.status(busy).state == "ready"
        path.touch()
        await site.scheduler.outcomes(slice_id, 1)
        site.scheduler.send(site.scheduler.host, m.WorkersDrained([busy]))
        await drain
        assert {status.state for status in site.host.workers().values()} == {"ended"}
        assert {ended.cause for ended in site.scheduler.ended} == {"planned"}

    site(scenario)


def test_draining_has_a_limit(site):
    async def scenario(site):
        (worker,) = await site.start()
        site.scheduler.drains = False
        slice_id = site.scheduler.run(worker, tasks.sleep, 60)
        await site.until_running(worker, slice_id)
        begun = time.monotonic()
        await site.host.drain(0.3)
        assert 0.3 <= time.monotonic() - begun < 3
        ended = await site.ended()
        assert (ended.cause, ended.slice_id) == ("planned", slice_id)

    site(scenario)


def test_another_scheduler_at_the_address_learns_everything(site):
    async def scenario(site):
        workers = await site.start(2)
        await site.scheduler.__aexit__()
        old, site.scheduler = site.scheduler, WorkerScheduler(site.tmp_path / "s")
        await site.scheduler.__aenter__()
        await site.scheduler.until(lambda: set(site.scheduler.hellos) == set(workers))
        await site.scheduler.until(
            lambda: site.scheduler.reports and len(site.scheduler.reports[-1].workers) == len(workers)
        )
        assert {hello.incarnation for hello in site.scheduler.hellos.values()} == {1}
        assert site.scheduler.host == old.host
        await site.scheduler.outcomes(site.scheduler.run(workers[0], tasks.square, 1), 1)

    site(scenario)


def test_a_scheduler_that_ends_ends_its_workers(site):
    async def scenario(site):
        workers = await site.start(2)
        slice_id = site.scheduler.run(workers[0], tasks.sleep, 60)
        await site.until_running(workers[0], slice_id)
        for worker in workers:
            site.scheduler.send(site.scheduler.peers[worker], m.Shutdown("a client asked for it"))
        await site.ended(2)
        for ended in site.scheduler.ended:
            assert (ended.cause, ended.code, ended.replaced) == ("planned", 0, False)
        for worker in workers:
            assert "a client asked for it" in (await site.until_state(worker, "ended")).reason

    site(scenario)


def test_a_worker_without_a_scheduler_ends(site):
    async def scenario(site):
        await site.scheduler.__aexit__()
        worker = new_worker_id("NAT")
        site.host.start("group", worker)
        status = await site.until_state(worker, "ended")
        assert "nothing heard of the scheduler for 1 seconds" in status.reason
        await site.scheduler.__aenter__()

    site(scenario, death_timeout_seconds=1)


def test_a_worker_whose_scheduler_goes_away_ends(site):
    async def scenario(site):
        (worker,) = await site.start()
        await asyncio.sleep(2)  # heartbeats keep it alive
        assert site.status(worker).state == "ready"
        await site.scheduler.__aexit__()
        status = await site.until_state(worker, "ended")
        assert "nothing heard" in status.reason
        await site.scheduler.__aenter__()

    site(scenario, death_timeout_seconds=1)


def test_preloading_comes_before_the_first_task(site, tmp_path, capfd):
    path = tmp_path / "preloaded"

    async def scenario(site):
        (worker,) = await site.start()
        assert int(path.read_text()) == site.status(worker).pid

    site(scenario, preload=f"tests.integration.worker_tasks:write_file({str(path)!r})")
    assert "preloading: tests.integration.worker_tasks:write_file with args" in capfd.readouterr().out


def test_the_last_words_of_a_process_are_reported_and_seen(site, capfd):
    async def scenario(site):
        (worker,) = await site.start()
        slice_id = site.scheduler.run(worker, tasks.complain_and_crash, "the model is bad")
        ended = await site.ended()
        assert (ended.slice_id, ended.code) == (slice_id, signal.SIGSEGV)
        assert ended.stderr_tail.startswith("the model is bad\nFatal Python error: Segmentation fault\n")
        assert "in complain_and_crash" in ended.stderr_tail
        await site.until_state(worker, "ready", incarnation=2)
        await site.scheduler.until(lambda: site.scheduler.hellos[worker].incarnation == 2)
        leaving = site.scheduler.run(worker, tasks.end_by, 3)
        await site.ended(2)
        assert (site.scheduler.ended[-1].slice_id, site.scheduler.ended[-1].stderr_tail) == (leaving, "")

    site(scenario)
    assert "the model is bad\nFatal Python error" in capfd.readouterr().err


def test_a_crash_while_preloading_is_explained(site):
    async def scenario(site):
        worker_id = new_worker_id("NAT")
        site.host.start("group", worker_id)
        status = await site.until_state(worker_id, "ended")
        assert "died of SIGSEGV before it was ready (Fatal Python error: Segmentation fault)" in status.reason

    site(scenario, preload="tests.integration.worker_tasks:complain_and_crash('no model')")


def test_failing_to_preload_is_reported(site):
    async def scenario(site):
        worker = new_worker_id("NAT")
        site.host.start("group", worker)
        status = await site.until_state(worker, "ended")
        assert "RuntimeError: no model" in status.reason
        ended = await site.ended()
        assert (ended.cause, ended.code, ended.replaced) == ("exit", 1, False)
        assert worker not in site.scheduler.hellos

    site(scenario, preload="tests.integration.worker_tasks:fail")


def test_what_a_process_finds_around_it(site, monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")

    async def scenario(site):
        (worker,) = await site.start()

        async def run(fn, argument):
            ((_, payload),) = await site.scheduler.outcomes(site.scheduler.run(worker, fn, argument), 1)
            return pickle.loads(payload)

        (omp,) = await run(tasks.environment, "OMP_NUM_THREADS")
        (mkl,) = await run(tasks.environment, "MKL_NUM_THREADS")
        assert (omp, mkl) == ("1", "3")
        directory, path = await run(tasks.place, 0)
        assert directory == str(tmp_path)
        assert str(tmp_path) in path
        assert set(sys.path) - {""} <= set(path)
        await run(tasks.say, "said by a task")

    site(scenario)
    assert "said by a task" in capfd.readouterr().out


def test_nothing_is_left_when_the_host_is_killed(tmp_path):
    program = f"""
import asyncio, sys
from tests.integration.test_worker_host import Site
async def main():
    site = await Site(__import__("pathlib").Path({str(tmp_path)!r}), {{}}).__aenter__()
    await site.start(2)
    sys.stdout.write("started\\n"); sys.stdout.flush()
    await asyncio.sleep(600)
asyncio.run(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout.readline() == "started\n"
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 3
    process.kill()
    process.wait()
    with contextlib.suppress(psutil.NoSuchProcess):
        wait_until(lambda: not [child for child in family if is_alive(child)], lambda: f"left over: {family}")
