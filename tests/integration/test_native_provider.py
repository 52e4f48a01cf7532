"""Real worker processes as units, and the two native adapters as real programs."""

import asyncio
import contextlib
import os
import re
import signal
import sys
import uuid
from pathlib import Path

import pytest
import zmq

from scaler_adapter_core.conformance import CHECKS, Subject, run_check
from scaler_adapter_fixed_native.config import FixedNativeWorkerAdapterConfig
from scaler_adapter_native.provider import NativeProvider
from scaler_protocol.messages import Shutdown, WorkerHello
from scaler_runtime.options import LoggingConfig, WorkerAdapterConfig, WorkerCapabilities, WorkerConfig
from scaler_runtime.zygote import Ended, Said, Started, Zygote
from scaler_worker.host import WorkerHost
from tests.integration.scripted_scheduler import ScriptedScheduler

pytestmark = pytest.mark.integration

SECONDS = 30.0


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_conforms(check, tmp_path, marked):
    async def scenario():
        context = zmq.Context()
        async with ScriptedScheduler(tmp_path / "s") as scheduler:

            async def open_provider(on_change):
                host = WorkerHost(
                    context,
                    scheduler.address,
                    "NAT",
                    WorkerConfig(per_worker_capabilities=WorkerCapabilities({"gpu": 2})),
                    preload=None,
                    object_storage_address=None,
                    io_threads=1,
                    logging_config=LoggingConfig(),
                    on_change=on_change,
                )
                return NativeProvider(host, "NAT")

            def registered():
                return {m.worker_id: m.group_id for m in scheduler.messages if isinstance(m, WorkerHello)}

            subject = Subject(open_provider, {"gpu": 2}, says_changes=True, wait_seconds=SECONDS, registered=registered)
            await run_check(check, subject)
        context.destroy(linger=0)

    asyncio.run(scenario())


class Program:
    """An adapter as a command."""

    def __init__(self, process):
        self.process = process
        self.pid = process.pid

    async def end(self):
        """Return exit code, standard output and standard error."""
        async with asyncio.timeout(SECONDS):
            output, errors = await self.process.communicate()
        return self.process.returncode, output.decode(), errors.decode()


@contextlib.asynccontextmanager
async def program(kind, address, *options):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"scaler_adapter_{kind}",
        str(address),
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def marked_processes(mark):
    """Return the pids of the processes that carry the mark in their environment, this one's apart."""
    pids = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if mark.encode() in (entry / "environ").read_bytes():
                pids.append(int(entry.name))
    return pids


async def wait_for(reached, seconds=SECONDS):
    async with asyncio.timeout(seconds):
        while not reached():  # noqa: ASYNC110 - other processes' ends are no events here
            await asyncio.sleep(0.02)


@pytest.fixture
def marked(monkeypatch):
    """Every process started by the test is marked; none may be left."""
    mark = f"MARK_OF_TEST={uuid.uuid4().hex}"
    monkeypatch.setenv(*mark.split("="))
    yield mark
    asyncio.run(wait_for(lambda: not marked_processes(mark), 10))


def worker_pids(scheduler):
    return {message.worker_id: message.pid for message in scheduler.messages if isinstance(message, WorkerHello)}


def ready(scheduler, count):
    """Whether so many groups are ready, and their workers have said hello, which comes over connections of its own."""

    def is_ready():
        groups = (
            [group for group in scheduler.reports[-1].groups if group.state == "ready"] if scheduler.reports else []
        )
        return len(groups) == count and worker_pids(scheduler).keys() >= {key for g in groups for key in g.worker_ids}

    return is_ready


def test_workers_come_and_go_as_the_scheduler_asks(tmp_path, marked):
    async def scenario():
        async with (
            ScriptedScheduler(tmp_path / "s") as scheduler,
            program("native", scheduler.address, "--max-workers", "3", "--per-worker-capabilities", "gpu=1") as adapter,
        ):
            await scheduler.until(lambda: scheduler.reports)
            assert scheduler.reports[0].max_worker_groups == 3
            assert scheduler.reports[0].capabilities == {"gpu": 1}
            scheduler.command(["a", "b", "c", "d"])
            await scheduler.until(ready(scheduler, 3))
            groups = {group.group_id: group for group in scheduler.reports[-1].groups}
            hello = next(message for message in scheduler.messages if isinstance(message, WorkerHello))
            assert hello.worker_id in groups[hello.group_id].worker_ids
            assert re.fullmatch(r"Worker\|NAT\|[0-9a-f]{32}\|[0-9a-f]{32}", hello.worker_id)
            assert hello.capabilities == {"gpu": 1}
            assert groups["d"].state == "pending"

            scheduler.command(["b", "c", "d"], ["a"])
            await scheduler.until(lambda: scheduler.states.get("d") == "ready")
            adapter.process.send_signal(signal.SIGTERM)
            code, _, errors = await adapter.end()
            assert (code, errors) == (0, "")

    asyncio.run(scenario())


def test_a_worker_killed_from_outside_is_lost_and_reported_with_the_signal(tmp_path, marked):
    async def scenario():
        async with ScriptedScheduler(tmp_path / "s") as scheduler, program("native", scheduler.address) as adapter:
            scheduler.command(["a"])
            await scheduler.until(ready(scheduler, 1))
            (pid,) = worker_pids(scheduler).values()
            os.kill(pid, signal.SIGKILL)
            await scheduler.until(lambda: scheduler.states.get("a") == "lost")
            assert "SIGKILL" in scheduler.reports[-1].groups[0].reason
            scheduler.command(["b"])
            await scheduler.until(ready(scheduler, 1))
            scheduler.send(Shutdown("a client asked for it"))
            assert (await adapter.end())[0] == 0

    asyncio.run(scenario())


def test_killing_the_adapter_ends_its_workers(tmp_path, marked):
    async def scenario():
        async with (
            ScriptedScheduler(tmp_path / "s") as scheduler,
            program("native", scheduler.address, "-mw", "2") as a,
        ):
            scheduler.command(["a", "b"])
            await scheduler.until(ready(scheduler, 2))
            a.process.kill()
            await a.end()
            await wait_for(lambda: not marked_processes(marked))

    asyncio.run(scenario())


def test_a_preload_that_fails_is_reported_and_tried_again_more_and_more_rarely(tmp_path, marked):
    async def scenario():
        options = ("--preload", "no_such_module:function", "-mw", "2")
        async with (
            ScriptedScheduler(tmp_path / "s") as scheduler,
            program("native", scheduler.address, *options) as adapter,
        ):
            scheduler.command(["a", "b"])
            await scheduler.until(lambda: scheduler.states == {"a": "failed", "b": "failed"})
            assert all("no_such_module" in group.reason for group in scheduler.reports[-1].groups)
            scheduler.command(["c", "d"])
            await scheduler.until(lambda: "pending" in scheduler.states.values())
            reasons = [group.reason for group in scheduler.reports[-1].groups if group.state == "pending"]
            assert all("no_such_module" in reason for reason in reasons)
            adapter.process.send_signal(signal.SIGINT)
            assert (await adapter.end())[0] == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["native", "fixed_native"])
def test_without_a_scheduler_it_ends_with_one_line(kind, tmp_path, marked):
    async def scenario():
        address = f"ipc://{tmp_path / 'nobody'}"
        async with program(kind, address, "--death-timeout-seconds", "1", "-mw", "1") as adapter:
            code, _, errors = await adapter.end()
            assert code == 1
            assert len(errors.strip().splitlines()) == 1
            assert address in errors

    asyncio.run(scenario())


# ---- fixed native


def test_fixed_native_starts_its_workers_at_once_and_ends_with_the_last(tmp_path, marked):
    async def scenario():
        async with (
            ScriptedScheduler(tmp_path / "s") as scheduler,
            program("fixed_native", scheduler.address, "-mw", "2") as adapter,
        ):
            await scheduler.until(ready(scheduler, 2))
            assert scheduler.reports[-1].max_worker_groups == 0
            first, second = worker_pids(scheduler).values()
            os.kill(first, signal.SIGKILL)
            await scheduler.until(lambda: sorted(scheduler.states.values()) == ["lost", "ready"])
            os.kill(second, signal.SIGKILL)
            code, _, errors = await adapter.end()
            assert code == 1
            assert len(errors.strip().splitlines()) == 1
            assert "SIGKILL" in errors
            assert all(worker_id.startswith("Worker|FIX|") for worker_id in worker_pids(scheduler))
            assert len(worker_pids(scheduler)) == 2

    asyncio.run(scenario())


def test_fixed_native_with_restart_replaces_what_is_killed(tmp_path, marked):
    async def scenario():
        async with (
            ScriptedScheduler(tmp_path / "s") as scheduler,
            program("fixed_native", scheduler.address, "-mw", "2", "--restart") as adapter,
        ):
            for number in range(3):
                await scheduler.until(ready(scheduler, 2))
                assert len(worker_pids(scheduler)) == 2 + number
                os.kill([*worker_pids(scheduler).values()][-1], signal.SIGKILL)
                await scheduler.until(lambda: not ready(scheduler, 2)())
            await scheduler.until(ready(scheduler, 2))
            adapter.process.send_signal(signal.SIGTERM)
            assert (await adapter.end())[0] == 0

    asyncio.run(scenario())


def test_fixed_native_with_no_workers_ends_at_once(tmp_path, marked):
    async def scenario():
        async with program("fixed_native", f"ipc://{tmp_path / 'nobody'}", "-mw", "0") as adapter:
            code, _, errors = await adapter.end()
            assert (code, errors) == (0, "")

    asyncio.run(scenario())


def fixed_config(scheduler, *, preload=None):
    adapter = WorkerAdapterConfig(scheduler.address, max_workers=2)
    return FixedNativeWorkerAdapterConfig(adapter, preload=preload, logging_config=LoggingConfig(()))


@pytest.mark.parametrize("preload", [None, "no_such_module:function"])
def test_fixed_native_as_a_child_says_what_became_of_it(preload, tmp_path, marked):
    async def scenario():
        async with ScriptedScheduler(tmp_path / "s") as scheduler:
            zygote = Zygote(("scaler_adapter_fixed_native.server",))
            try:
                arguments = (fixed_config(scheduler, preload=preload), zygote.pid)
                zygote.start("child", "scaler_adapter_fixed_native.server:run_child", arguments)
                assert isinstance(await asyncio.to_thread(zygote.wait_event, SECONDS), Started)
                said = await asyncio.to_thread(zygote.wait_event, SECONDS)
                assert isinstance(said, Said)
                if preload is None:
                    assert said.message == ("ready",)
                    await scheduler.until(ready(scheduler, 2))
                    zygote.signal("child", signal.SIGTERM)
                else:
                    assert said.message[0] == "failed"
                    assert "no_such_module" in said.message[1]
                while not isinstance(event := await asyncio.to_thread(zygote.wait_event, SECONDS), Ended):
                    assert event is not None
                assert event.exit_code == (0 if preload is None else 1)
            finally:
                await asyncio.to_thread(zygote.close)

    asyncio.run(scenario())


def test_fixed_native_as_a_child_ends_with_the_process_that_started_it(tmp_path, marked):
    async def scenario():
        async with ScriptedScheduler(tmp_path / "s") as scheduler:
            zygote = Zygote(("scaler_adapter_fixed_native.server",))
            arguments = (fixed_config(scheduler), zygote.pid)
            zygote.start("child", "scaler_adapter_fixed_native.server:run_child", arguments)
            await scheduler.until(ready(scheduler, 2))
            os.kill(zygote.pid, signal.SIGKILL)
            await wait_for(lambda: not marked_processes(marked))
            await asyncio.to_thread(zygote.close)

    asyncio.run(scenario())
