"""Programs written for the reference run as they are, and leave nothing."""

import ast
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.integration.commands import PATIENCE_SECONDS, is_alive, wait_until

pytestmark = pytest.mark.integration

FOLDER = Path(__file__).parent / "reference_programs"
PROMISED = {
    "scaler",
    "scaler.client.client",
    "scaler.client.object_reference",
    "scaler.client.serializer.default",
    "scaler.cluster.cluster",
    "scaler.cluster.combo",
    "scaler.cluster.object_storage_server",
    "scaler.cluster.scheduler",
    "scaler.config",
    "scaler.config.common.logging",
    "scaler.config.common.worker",
    "scaler.config.common.worker_adapter",
    "scaler.config.section.cluster",
    "scaler.config.section.native_worker_adapter",
    "scaler.config.section.scheduler",
    "scaler.config.types.object_storage_server",
    "scaler.config.types.worker",
    "scaler.config.types.zmq",
    "scaler.utility.exceptions",
    "scaler.utility.graph.optimization",
    "scaler.utility.logging.scoped_logger",
    "scaler.utility.logging.utility",
    "scaler.utility.network_util",
    "scaler.worker.agent.processor.processor",
    "scaler.worker_adapter.native",
}

PRINTED = {
    "simple_client": ["True", "661", "True", "[1, 2]", "3", "4", "no 3", "timeout", "499500 True False"],
    "graph_and_nested": [
        "{'a': 2, 'b': 2, 'c': 3, 'd': 4, 'e': 1}",
        "['a', 'c']",
        "1",
        "True b'large_object'",
        "499500",
        "[2, 3]",
        "missing",
        "8",
        "[2, 3] True",
        "[1, 2, 3, 4, 5]",
    ],
    "separate_processes": [
        "[0, 1, 4, 9, 16]",
        "49",
        "64",
        "1000000",
        "shut down",
        "False 0",
        "False 0",
        "False 0",
        "0",
    ],
}


def test_every_program_is_run_and_imports_what_is_promised():
    assert {path.stem for path in FOLDER.glob("[!_]*.py")} == set(PRINTED)
    for name in PRINTED:
        tree = ast.parse((FOLDER / f"{name}.py").read_text())
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert {module for module in modules if module.startswith("scaler")} <= PROMISED


@pytest.mark.parametrize("name", PRINTED)
def test_a_program_written_for_the_reference(name, tmp_path):
    output = tmp_path / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, str(FOLDER / f"{name}.py")],
            cwd=tmp_path,
            stdout=file,
            stderr=file,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    try:
        code = process.wait(PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()
    said = output.read_text()
    assert code == 0, said
    results = [line.removeprefix("RESULT ") for line in said.splitlines() if line.startswith("RESULT ")]
    assert results == PRINTED[name], said
    assert "Traceback" not in said
    wait_until(lambda: not left_of(output), lambda: f"left over: {left_of(output)}")


def left_of(output):
    """Return the processes that still have the program's output: it passes it on to all that it starts."""
    return [process for process in psutil.process_iter() if is_alive(process) and writes_to(process, output)]


def writes_to(process, output):
    with contextlib.suppress(OSError):
        return any(path.readlink() == output for path in Path(f"/proc/{process.pid}/fd").iterdir())
    return False
