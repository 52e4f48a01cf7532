"""Ends a command in order that is asked to stop while Python still imports it.

The first thing that the `main` of a command calls, before all other imports: must itself import next to nothing.
Until Python reaches that line, some ten milliseconds after its start, a signal does what it does to any Python program.
"""

import os
import signal
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_when_asked() -> None:
    """Have SIGINT and SIGTERM end this process with exit code 0, until it has handlers of its own.

    At once, not by an exception: one that is raised within an import may be taken for a failure of it, or get lost.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _end)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # there is no state to write down yet, see dump.py


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)
