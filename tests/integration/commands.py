"""Starts the product's commands for tests, waits for what they say, and proves that nothing of them is left."""

import contextlib
import itertools
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil

PATIENCE_SECONDS = 60
PORTS_OF_A_SCHEDULER = 3
"""Its own, that of its object storage, that for monitors, one after the other."""

_LOWEST_PORT, _HIGHEST_PORT = 20_000, 32_000
"""Below those that the system gives to connections (32,768 and more): nothing takes them while a server is away."""


def free_address():
    """Return an address at which a scheduler can be started, killed, and started again."""
    slots = (_HIGHEST_PORT - _LOWEST_PORT) // PORTS_OF_A_SCHEDULER
    for _ in range(slots):
        port = _LOWEST_PORT + (os.getpid() + next(_count)) % slots * PORTS_OF_A_SCHEDULER
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for number in range(port, port + PORTS_OF_A_SCHEDULER):
                listener = held.enter_context(socket.socket())
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(("127.0.0.1", number))
            return f"tcp://127.0.0.1:{port}"
    raise AssertionError("no three ports in a row are free")


_count = itertools.count(step=37)  # so that test processes with neighbouring pids do not meet at once


class Command:
    """A command of the product as a process; its output is gathered line by line."""

    def __init__(self, module, *arguments, environment=None, program=(sys.executable, "-m")):
        self.lines = []
        self._fresh = queue.Queue()
        self.process = subprocess.Popen(
            [*program, module, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
        )
        self._seen = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._fresh.put(line.rstrip("\n"))
        self._fresh.put(None)

    @property
    def output(self):
        return "\n".join(self.lines)

    def wait_for_line(self, part):
        """Return the next line that contains `part`."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            line = self._fresh.get(timeout=max(0.1, deadline - time.monotonic()))
            assert line is not None, f"ended without saying {part!r}:\n{self.output}"
            if part in line:
                return line

    def tree(self):
        """Return every living process of the command, itself included."""
        if self.process.poll() is None:  # afterwards the number may be another process's
            with contextlib.suppress(psutil.NoSuchProcess):
                root = psutil.Process(self.process.pid)
                for process in [root, *root.children(recursive=True)]:
                    self._seen[process.pid] = process
        return [process for process in self._seen.values() if is_alive(process)]

    def children(self):
        """Return the living children of the command itself; none once it has ended."""
        if self.process.poll() is None:  # afterwards the number may be another process's
            with contextlib.suppress(psutil.NoSuchProcess):
                return [child for child in psutil.Process(self.process.pid).children() if is_alive(child)]
        return []

    def stop(self, number=signal.SIGTERM):
        """Ask it to stop and return its exit code; nothing it started may be left."""
        self.tree()
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_SECONDS)
        self.assert_nothing_left()
        return code

    def kill(self):
        """End the command itself by SIGKILL; what it started has to notice."""
        self.tree()
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
        self.assert_nothing_left()

    def assert_nothing_left(self):
        wait_until(lambda: not self.tree(), lambda: f"left over: {[p.cmdline() for p in self.tree()]}")
        self._reader.join(PATIENCE_SECONDS)


@contextlib.contextmanager
def running(module, *arguments, environment=None):
    """Run a command for the length of a block, and stop it."""
    command = Command(module, *arguments, environment=environment)
    try:
        yield command
    finally:
        command.stop()


@contextlib.contextmanager
def scheduler(*arguments, policy="allocate=even_load; scaling=no"):
    """Run a scheduler on a free port; gives (command, address)."""
    with running("scaler_scheduler", "tcp://127.0.0.1:0", "-pc", policy, *arguments) as command:
        yield command, command.wait_for_line("scheduler listening on").split()[-1]


def is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, explain=lambda: ""):
    """Wait for a condition; fail with the explanation when it does not come true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (result := condition()):
        assert time.monotonic() < deadline, explain()
        time.sleep(0.01)
    return result
