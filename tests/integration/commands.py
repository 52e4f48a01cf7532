"""Starts the product's commands for tests, waits for what they say, and proves that nothing of them is left."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import psutil

PATIENCE_SECONDS = 60


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
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            for process in [root, *root.children(recursive=True)]:
                self._seen[process.pid] = process
        return [process for process in self._seen.values() if is_alive(process)]

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
