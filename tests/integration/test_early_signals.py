"""A command that is asked to stop at any moment from its first line on, also while it still imports, ends with exit 0.

Before that line nothing can be done: the first some ten milliseconds are the interpreter's.
"""

import ast
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.commands import Command, wait_until

pytestmark = pytest.mark.integration

COMMANDS = {
    "scaler_scheduler": ["tcp://127.0.0.1:0"],
    "scaler_object_storage": ["tcp://127.0.0.1:0"],
    "scaler_cluster": ["tcp://127.0.0.1:1", "-n", "1"],
    "scaler_adapter_native": ["tcp://127.0.0.1:1", "-mw", "1"],
    "scaler_adapter_fixed_native": ["tcp://127.0.0.1:1", "-mw", "1"],
    "scaler_worker.group": ["tcp://127.0.0.1:1", "a-group"],
    "scaler_scheduler.top": ["tcp://127.0.0.1:1"],
}
MODULES_THEMSELVES = {"scaler_worker.group"}
"""Run as they are, not by a file `__main__` within."""
IMPORTS_SECONDS = 0.4
"""How long what follows the first line takes at the most, at least where nobody else needs the processor."""


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal (proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def stopped_after(seconds, number, module, *arguments):
    """Start a command and send it a signal, so long after its first line; return its exit code and output."""
    command = Command(module, *arguments)
    try:
        # Of SIGINT Python has a handler of its own from the start: those of ours come together.
        wait_until(lambda: catches(command.process.pid, signal.SIGTERM), lambda: command.output)
        time.sleep(seconds)  # nothing is waited for: the moment is what is tested
    finally:
        code = command.stop(number)
    return code, command.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("module", COMMANDS)
def test_a_signal_at_any_early_moment_ends_a_command_in_order(module, number):
    for share in (0.0, random.random(), random.random()):
        code, output = stopped_after(share * IMPORTS_SECONDS, number, module, *COMMANDS[module])

        assert code == 0, (share, output)
        assert "Traceback" not in output
        assert "KeyboardInterrupt" not in output


@pytest.mark.parametrize("module", COMMANDS)
def test_nothing_is_imported_before_the_first_line(module):
    first = module if module in MODULES_THEMSELVES else f"{module}.__main__"
    program = f"import sys, signal; before = set(sys.modules); import {first}; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    own = {module, module.partition(".")[0], first, "scaler_runtime", "scaler_runtime.early_signals"}
    assert set(ast.literal_eval(done.stdout)) <= own
