"""Workers that cannot start: the reason is in the adapter's log, the scheduler's log and the client's warning."""

import contextlib
import re
import signal
import textwrap
import time
import warnings

import pytest

from scaler import Client
from scaler.utility.exceptions import SchedulerWarning
from tests.integration.commands import running, scheduler, wait_until

pytestmark = pytest.mark.integration

VANILLA = "allocate=even_load; scaling=vanilla(upper=1)"


@contextlib.contextmanager
def waiting_task(address):
    """Have a client with a task; gives its future and the warnings that the client gets."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Client(address) as client:
            yield client.submit(abs, -5), caught


def texts(caught):
    return [str(warning.message) for warning in caught if warning.category is SchedulerWarning]


def pauses(command):
    """Return the seconds of the pauses that an adapter has written into its log."""
    found = (re.search(r"next attempt after ([\d.]+) s", line) for line in command.lines)
    return [float(match[1]) for match in found if match]


def module(folder, name, text):
    (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return {"PYTHONPATH": str(folder)}


def test_a_preload_that_fails_is_known_everywhere_and_tried_more_and_more_rarely(tmp_path):
    environment = module(tmp_path, "bad_preload", "def go(): raise ConnectionError('the licence server is away')")
    with (
        scheduler(policy=VANILLA) as (command, address),
        running(
            "scaler_adapter_native", address, "--preload", "bad_preload:go", "-mw", 2, environment=environment
        ) as adapter,
        waiting_task(address) as (future, caught),
    ):
        adapter.wait_for_line("the start failed (5 times in a row), next attempt after 60 s")
        command.wait_for_line("the licence server is away")
        wait_until(lambda: texts(caught))
        assert not future.done()
        assert "the licence server is away" in texts(caught)[0]
        assert pauses(adapter) == [0.5, 1, 2, 4, 60]


def test_a_preload_that_works_again_after_a_while_is_forgotten(tmp_path):
    environment = module(
        tmp_path,
        "moody_preload",
        f"""
        import os, pathlib
        def go():
            path = pathlib.Path({str(tmp_path / "attempts")!r})
            with path.open("a") as file:
                file.write("x")
            if len(path.read_text()) < 3:
                raise RuntimeError("not yet")
        """,
    )
    with (
        scheduler(policy=VANILLA) as (_, address),
        running(
            "scaler_adapter_native", address, "--preload", "moody_preload:go", "-mw", 1, environment=environment
        ) as adapter,
        waiting_task(address) as (future, _caught),
    ):
        assert future.result() == 5
        adapter.wait_for_line("groups start again")
        assert pauses(adapter) == [0.5, 1]


CRASHING_ZYGOTE = """
    import os, sys
    if any("zygote_process" in word for word in sys.orig_argv):
        sys.stderr.write("a broken installation\\n")
        os._exit(7)
"""


def test_an_interpreter_that_crashes_at_its_start(tmp_path):
    environment = module(tmp_path, "sitecustomize", CRASHING_ZYGOTE)
    with (
        scheduler(policy=VANILLA) as (command, address),
        running("scaler_adapter_native", address, "-mw", 2, environment=environment) as adapter,
        waiting_task(address) as (future, caught),
    ):
        adapter.wait_for_line("the start failed (3 times in a row)")
        command.wait_for_line("exit code 7")
        wait_until(lambda: texts(caught))
        assert not future.done()
        assert "exit code 7" in texts(caught)[0]
        assert pauses(adapter)[:3] == [0.5, 1, 2]
        assert adapter.output.count("a broken installation") <= 8, "it is started again and again"


BROKEN_MODULE = """
    import sys
    if any("zygote_process" in word for word in sys.orig_argv):
        sys.modules["scaler_worker.process"] = None
"""


def test_a_module_of_the_worker_that_cannot_be_imported(tmp_path):
    environment = module(tmp_path, "sitecustomize", BROKEN_MODULE)
    with (
        scheduler(policy=VANILLA) as (command, address),
        running("scaler_adapter_native", address, "-mw", 1, environment=environment) as adapter,
        waiting_task(address) as (future, caught),
    ):
        adapter.wait_for_line("the start failed (2 times in a row)")
        command.wait_for_line("the zygote cannot import scaler_worker.process")
        wait_until(lambda: texts(caught))
        assert not future.done()
        assert "the zygote cannot import scaler_worker.process" in texts(caught)[0]


def test_a_worker_that_never_registers_is_ended_and_its_client_told(tmp_path):
    environment = module(tmp_path, "endless", "import time\ndef go(): time.sleep(3600)")
    options = ("--preload", "endless:go", "-mw", 1, "--death-timeout-seconds", 2)
    with (
        scheduler(policy=VANILLA) as (command, address),
        running("scaler_adapter_native", address, *options, environment=environment) as adapter,
        waiting_task(address) as (future, caught),
    ):
        adapter.wait_for_line("registered within 2 seconds")
        command.wait_for_line("registered within 2 seconds")
        wait_until(lambda: texts(caught))
        assert not future.done()
        assert "registered within 2 seconds" in texts(caught)[0]
        adapter.wait_for_line("the start failed (2 times in a row)")


def test_fixed_native_ends_with_the_reason_and_its_client_is_told(tmp_path):
    environment = module(tmp_path, "bad_preload", "def go(): raise ConnectionError('the licence server is away')")
    with scheduler(policy=VANILLA) as (command, address), waiting_task(address) as (future, caught):
        options = (address, "--preload", "bad_preload:go", "-mw", 2)
        with running("scaler_adapter_fixed_native", *options, environment=environment) as adapter:
            assert adapter.process.wait(30) == 1
        assert "the licence server is away" in adapter.lines[-1]
        command.wait_for_line("the licence server is away")
        wait_until(lambda: texts(caught))
        assert not future.done()
        assert "the licence server is away" in texts(caught)[0]


def test_fixed_native_with_restart_pauses_longer_and_longer():
    with (
        scheduler(policy="allocate=even_load; scaling=no") as (_, address),
        running("scaler_adapter_fixed_native", address, "-mw", 1, "--restart") as adapter,
        Client(address) as client,
    ):
        for _ in range(3):
            client.submit(time.sleep, 0).result()
            wait_until(lambda: workers_of(adapter))
            for worker in workers_of(adapter):
                worker.send_signal(signal.SIGKILL)
            adapter.wait_for_line("groups ended unasked")
        assert pauses(adapter) == [0.5, 1, 2]
        assert client.submit(abs, -1).result() == 1


def workers_of(adapter):
    zygotes = [process for process in adapter.tree() if process.ppid() == adapter.process.pid]
    return [worker for zygote in zygotes for worker in zygote.children()]
