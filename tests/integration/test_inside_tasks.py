"""What tasks may rely on inside a real worker: their place, the log, and what was run before them."""

import logging
import re
import threading

import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.utility.logging.scoped_logger import ScopedLogger
from scaler.worker.agent.processor.processor import Processor
from tests.integration.commands import running, scheduler, wait_until

pytestmark = pytest.mark.integration

ADAPTER = "scaler_adapter_fixed_native"
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}"


def ask_processor(_=None):
    processor = Processor.get_current_processor()
    return str(processor.scheduler_address()), processor.current_task().task_id, processor.current_task().priority


def ask_processor_in_a_thread():
    answers = []
    thread = threading.Thread(target=lambda: answers.append(ask_processor()))
    thread.start()
    thread.join()
    return answers[0]


def log(text):
    logging.getLogger("mine").debug("debug %s", text)
    logging.getLogger("mine").warning("warning %s", text)
    with ScopedLogger(f"scoped {text}"):
        logging.getLogger("mine").error("error %s", text)


def test_a_task_knows_its_processor():
    assert Processor.get_current_processor() is None
    with SchedulerClusterCombo(n_workers=1) as combo, Client(combo.get_address()) as client:
        for ask in (ask_processor, ask_processor_in_a_thread):
            future = client.submit(ask)
            assert future.result() == (combo.get_address(), future.task_id, 0)
        answers = client.map(ask_processor, range(100))
        assert {address for address, _, _ in answers} == {combo.get_address()}
        assert len({task_id for _, task_id, _ in answers}) == 100


def test_workers_log_to_the_screen_and_to_one_file_for_the_host(tmp_path, monkeypatch):
    monkeypatch.setenv("LOG_FOLDER", str(tmp_path))
    path = tmp_path / "host.log"
    with (
        scheduler() as (_, address),
        running(
            ADAPTER, address, "--max-workers", 2, "--logging-paths", "-", "$LOG_FOLDER/host.log", "-ll", "DEBUG"
        ) as workers,
        Client(address) as client,
    ):
        client.map(log, [f"{number}" for number in range(20)])
        wait_until(lambda: "error 19" in path.read_text() and any("error 19" in line for line in workers.lines))
    lines = path.read_text().splitlines()
    assert all(re.match(rf"\[(INFO|WARN|EROR|DEBG)\]{TIME}:\w+:\w+:\d+: ", line) for line in lines)
    shown = [line for line in workers.lines if line.startswith("[")]
    assert all(re.match(rf"\[(INFO|WARN|EROR|DEBG)\]{TIME}: ", line) for line in shown)
    for number in range(20):
        for level, text in (("DEBG", "debug"), ("WARN", "warning"), ("EROR", "error")):
            expected = rf"\[{level}\]{TIME}:test_inside_tasks:log:\d+: {text} {number}"
            assert sum(re.fullmatch(expected, line) is not None for line in lines) == 1
            assert sum(re.fullmatch(rf"\[{level}\]{TIME}: {text} {number}", line) is not None for line in shown) == 1
    assert sum(re.search(r"completed scoped 7 after \d+\.\d{3} seconds", line) is not None for line in lines) == 1


def test_nothing_is_logged_below_the_level(tmp_path):
    path = tmp_path / "host.log"
    options = ("--logging-paths", path, "--logging-level", "ERROR")
    with (
        scheduler() as (_, address),
        running(ADAPTER, address, "--max-workers", 1, *options) as workers,
        Client(address) as client,
    ):
        client.submit(log, "x").result()
    assert [line.rpartition(": ")[2] for line in path.read_text().splitlines()] == ["error x"]
    assert workers.output == ""


def test_preloading_is_logged_once_in_each_process(tmp_path):
    path = tmp_path / "host.log"
    spec = f"tests.integration.worker_tasks:write_file({str(tmp_path / 'pid')!r})"
    with (
        scheduler() as (_, address),
        running(ADAPTER, address, "--max-workers", 2, "--preload", spec, "--logging-paths", path),
        Client(address) as client,
    ):
        client.map(abs, range(100))
    lines = [line for line in path.read_text().splitlines() if "preloading" in line]
    assert len(lines) == 2
    expected = f"preloading: tests.integration.worker_tasks:write_file with args ({str(tmp_path / 'pid')!r})"
    assert all(line.endswith(expected) and line.startswith("[INFO]") for line in lines)
