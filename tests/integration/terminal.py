"""A command in a pseudo-terminal: what it draws, keys typed into it, and the mode it leaves the terminal in."""

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading

import psutil

from tests.integration.commands import PATIENCE_SECONDS, is_alive, wait_until

ALTERNATE_SCREEN = "\x1b[?1049h"
NORMAL_SCREEN = "\x1b[?1049l"
VISIBLE_CURSOR = "\x1b[?25h"

_SHELL = """
import fcntl, os, signal, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
command = subprocess.Popen([sys.executable, "-m", *sys.argv[1:]], process_group=0)
os.tcsetpgrp(0, command.pid)
sys.exit(command.wait())
"""
"""What a shell does for a command in the foreground: without it nothing can be suspended."""


class TerminalCommand:
    """`drawn` is everything written so far; `command` is the process."""

    def __init__(self, module, *arguments, rows=40, columns=200, term="xterm-256color"):
        self._owner, self._terminal = pty.openpty()
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.mode_before = self.mode()
        self._shell = subprocess.Popen(
            [sys.executable, "-c", _SHELL, module, *map(str, arguments)],
            stdin=self._terminal,
            stdout=self._terminal,
            stderr=self._terminal,
            start_new_session=True,
            # pytest-xdist sets COLUMNS, which would count more than the terminal's size
            env={key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES"}} | {"TERM": term},
        )
        self._data = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        children = psutil.Process(self._shell.pid).children
        self.command = wait_until(children, lambda: f"no command was started: {self.drawn}")[0]

    def _read(self):
        with contextlib.suppress(OSError):  # the last process that had the terminal open has ended
            while data := os.read(self._owner, 1 << 16):
                self._data += data

    @property
    def drawn(self):
        return bytes(self._data).decode(errors="replace")

    def wait_for(self, text, after=0):
        """Wait until the text is drawn beyond a position; return the position behind it."""
        wait_until(lambda: text in self.drawn[after:], lambda: f"not drawn: {text!r}; last was {self.drawn[-3000:]!r}")
        return self.drawn.index(text, after) + len(text)

    def type(self, keys):
        """Type keys; return the position of what is drawn from now on."""
        position = len(self.drawn)
        os.write(self._owner, keys.encode())
        return position

    def mode(self):
        """Return the terminal's attributes (termios)."""
        return termios.tcgetattr(self._terminal)

    def wait(self):
        """Wait for the end and return the exit code; nothing may be left."""
        code = self._shell.wait(PATIENCE_SECONDS)
        assert not is_alive(self.command)
        return code

    def close(self):
        """End the command if it has not ended."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.command.send_signal(signal.SIGCONT)
            self.command.terminate()
        self.wait()
        os.close(self._terminal)
        self._reader.join(PATIENCE_SECONDS)
        os.close(self._owner)


@contextlib.contextmanager
def in_terminal(module, *arguments, **terminal):
    """Run a command in a terminal for the length of a block."""
    command = TerminalCommand(module, *arguments, **terminal)
    try:
        yield command
    finally:
        command.close()
