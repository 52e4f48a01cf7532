"""The terminal while `scaler_top` shows something live: keys come one by one, and afterwards all is as it was."""

import contextlib
import os
import re
import signal
import sys
import termios
import tty
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live

SUSPEND = "\x1a"
_SEQUENCE = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|O.)?", re.DOTALL)  # what arrows and function keys send (ECMA-48)
_KEYS_PER_READ = 64
_END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def is_terminal() -> bool:
    """Whether the output is a terminal that can be drawn on."""
    return sys.stdout.isatty() and not Console().is_dumb_terminal


class Terminal:
    """Owns the screen and the keyboard between `__enter__` and `__exit__`.

    The signals that end a program raise `KeyboardInterrupt`, the first of them only: nothing disturbs the way out.
    """

    def __init__(self) -> None:
        self.console = Console(highlight=False, markup=False)
        self._keyboard = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._mode = None if self._keyboard is None else termios.tcgetattr(self._keyboard)
        self._live = self._new_live()

    def __enter__(self) -> Self:
        for number in _END_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _on_end)
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._give_back()

    @property
    def keyboard(self) -> int | None:
        """The descriptor to watch for keys, None without any."""
        return self._keyboard

    def show(self, picture: RenderableType) -> None:
        """Draw."""
        self._live.update(picture, refresh=True)

    def keys(self) -> str:
        """Return the keys that were pressed; nothing for those that send more than a character."""
        data = b""
        if self._keyboard is not None:
            with contextlib.suppress(OSError):  # the terminal is gone
                data = os.read(self._keyboard, _KEYS_PER_READ)
            if not data:
                self._keyboard = None
        return _SEQUENCE.sub(b"", data).decode(errors="replace")

    def suspend(self) -> None:
        """Give the terminal back and stop, until somebody lets the program go on."""
        self._give_back()
        os.kill(0, signal.SIGTSTP)
        self._live = self._new_live()
        self._take()

    def _new_live(self) -> Live:
        return Live(console=self.console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def _take(self) -> None:
        self._live.start()
        if self._keyboard is not None:
            tty.setcbreak(self._keyboard)
            # The key that suspends is read like the others: before that the terminal is put in order.
            mode = termios.tcgetattr(self._keyboard)
            mode[tty.CC][termios.VSUSP] = b"\0"
            termios.tcsetattr(self._keyboard, termios.TCSANOW, mode)

    def _give_back(self) -> None:
        if self._keyboard is not None and self._mode is not None:
            with contextlib.suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._mode)
        self._live.stop()


def _on_end(_number: int, _frame: object) -> None:
    for number in _END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
