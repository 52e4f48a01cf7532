"""Executes the blocks of a page as a reader would: commands in terminals, Python in one interpreter, files in a folder.

The ports from 8516 on become free ones. A block that starts a scheduler begins anew: what ran before is stopped.
"""

import doctest
import os
import re
import shlex
import socket
import subprocess
import sys
from importlib.metadata import entry_points
from multiprocessing.connection import Pipe
from pathlib import Path

import psutil

from tests.docs.blocks import ROOT
from tests.integration.commands import PATIENCE_SECONDS, Command, is_alive, wait_until

DOCUMENTED_PORTS = (8516, 8517, 8518)
"""A scheduler's own, and those that it derives from it."""
BIN = Path(sys.executable).parent
SERVERS = {
    "scaler_scheduler": "scheduler listening on",
    "scaler_object_storage_server": "object storage listening on",
    "scaler_worker_adapter_native": None,
    "scaler_worker_adapter_fixed_native": None,
    "scaler_cluster": None,
    "scaler_top": "Total",
}
"""Commands that go on until they are stopped, each with the line that says it has come up, if there is one."""


class Session:
    """The state of one page. The working directory has to be an empty folder of the page's own."""

    def __init__(self):
        port = free_port()
        self._ports = {str(documented): str(port + i) for i, documented in enumerate(DOCUMENTED_PORTS)}
        self._commands = []
        self._interpreter = None

    def run(self, block):
        """Execute one block, and fail where it fails or prints something else."""
        text = self._with_ports(block.text)
        if block.file_name is not None:
            path = Path(block.file_name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            return
        printed = RUNNERS[block.kind](self, text, block.place)
        if block.kind != "console" and block.output is not None:
            assert_output(self._with_ports(block.output), printed, block.place)

    def close(self):
        """End what is running; everything must have gone on until now, and end in order."""
        try:
            if self._interpreter is not None:
                self._interpreter.close()
        finally:
            self._stop_commands()

    # ---- kinds of blocks

    def run_python(self, source, place):
        if self._interpreter is None:
            self._interpreter = Interpreter()
        return self._interpreter.run(source, place)

    def run_sh(self, text, place):
        """Commands that go on until they are stopped, or end with `&`, run beside each other; others must succeed."""
        lines = [line for line in text.replace("\\\n", " ").splitlines() if shlex.split(line, comments=True)]
        if any("scaler_scheduler" in line.split() for line in lines):
            self._stop_commands()
        output = ""
        for line in lines:
            words, variables = split_command(line)
            if words[0] in SERVERS and not {"-h", "--help"} & set(words):
                self._start(words, variables)
            elif words[-1] == "&":  # a program of the page's own that goes on
                self._commands.append(Command(*words[1:-1], environment=variables, program=(sys.executable,)))
            else:
                output += run_in_shell(line, place)
        return output

    def run_console(self, text, place):
        """A session in a terminal: lines that begin with a dollar sign are typed, the others are printed."""
        typed = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
        expected = "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("$ "))
        printed = run_in_shell("\n".join(typed), place)
        assert_output(expected, printed, place)
        return printed

    # ---- within

    def _with_ports(self, text):
        return re.sub("|".join(self._ports), lambda match: self._ports[match[0]], text)

    def _start(self, words, variables):
        (command,) = entry_points(group="console_scripts", name=words[0])
        running = Command(command.module.removesuffix(".__main__"), *words[1:], environment=variables)
        self._commands.append(running)
        if (line := SERVERS[words[0]]) is not None:
            running.wait_for_line(line)
        else:  # it has come up when it has started what will fork its workers
            process = psutil.Process(running.process.pid)
            wait_until(lambda: process.children() or running.process.poll() is not None, lambda: running.output)

    def _stop_commands(self):
        codes = []
        while self._commands:
            command = self._commands.pop()
            was_running = command.process.poll() is None
            codes.append((command.process.args[2:], was_running, command.stop(), command.output))
        assert all(was_running and code == 0 for _, was_running, code, _ in codes), codes


RUNNERS = {"python": Session.run_python, "sh": Session.run_sh, "console": Session.run_console}


class Interpreter:
    """The process of `tests.docs.interpreter`."""

    def __init__(self):
        self._connection, theirs = Pipe()
        self._log = Path("interpreter.log").open("w+")  # noqa: SIM115 - closed in `close`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.docs.interpreter", str(theirs.fileno())],
            env=environment_of_a_reader() | {"PYTHONPATH": str(ROOT)},
            pass_fds=[theirs.fileno()],
            stdout=self._log,
            stderr=self._log,
        )
        theirs.close()

    def run(self, source, place):
        self._connection.send((place, source))
        assert self._connection.poll(PATIENCE_SECONDS), f"{place} does not end\n{self._output()}"
        printed, failure = self._connection.recv()
        assert failure is None, f"{place}\n{failure}\n{self._output()}"
        return printed

    def close(self):
        started = psutil.Process(self._process.pid).children(recursive=True)
        try:
            self._connection.send(None)
            assert self._process.wait(PATIENCE_SECONDS) == 0, self._output()
        finally:
            self._process.kill()
            self._process.wait()
            self._log.close()
            self._connection.close()
        wait_until(lambda: not any(map(is_alive, started)), lambda: f"left over: {started}")

    def _output(self):
        return Path(self._log.name).read_text()


def split_command(line):
    """Return the words of a command, and the variables that are set before it."""
    words, variables = shlex.split(line, comments=True), {}
    while "=" in words[0]:
        name, _, variables[name] = words.pop(0).partition("=")
    return words, variables


def run_in_shell(script, place):
    """Run lines in a shell and return what they print; the last one has to succeed."""
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        env=environment_of_a_reader(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{place}\n{done.stdout}"
    return done.stdout


def environment_of_a_reader():
    """Return variables under which the commands of this environment are found, and pip changes nothing."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("SCALER_")}
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**variables, "PATH": path, "COLUMNS": "200", "PIP_REQUIRE_VIRTUALENV": "1"}


def assert_output(expected, printed, place):
    is_right = doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert is_right, f"{place} says that this is printed:\n{expected}\nbut it was:\n{printed}"


def free_port():
    """Return a port that is free, as are the next ones; below those that the system gives away by itself."""
    port = 10_000 + os.getpid() % 2_000 * 10
    while not all(is_free(number) for number in range(port, port + len(DOCUMENTED_PORTS))):
        port += len(DOCUMENTED_PORTS)
    return port


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
