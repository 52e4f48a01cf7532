"""Tasks that fail in all the ways there are. Their classes misbehave when they are pickled or restored."""

import os
import sys
import threading

from scaler_client import context
from tests.integration.output_tasks import die


def worker_id(_=None):
    return context.home.worker_id


def exit_with(code):
    sys.exit(code)


def interrupt():
    raise KeyboardInterrupt


def recurse(depth=0):
    return recurse(depth + 1)


def give(value):
    return value


def give_lock():
    return threading.Lock()


def give_odd(how):
    return Odd(how)


class Odd:
    """Misbehaves when it is pickled; its repr does, too."""

    def __init__(self, how):
        self._how = how

    def __reduce__(self):
        misbehave(self._how)

    def __repr__(self):
        misbehave(self._how)


class Bomb:
    """Misbehaves when it is restored."""

    def __init__(self, how):
        self._how = how

    def __reduce__(self):
        return misbehave, (self._how,)


def misbehave(how):
    match how:
        case "raise":
            raise RuntimeError("no pickling today")
        case "exit":
            sys.exit(5)
        case "interrupt":
            raise KeyboardInterrupt
        case _:
            die(how)


class OddError(Exception):
    """Cannot be restored: it wants more arguments than it passes on."""

    def __init__(self, first, second):
        super().__init__(first)


class HoldingError(Exception):
    def __init__(self):
        super().__init__("it holds a lock")
        self.lock = threading.Lock()


class MisbehavingError(Exception):
    def __init__(self, how):
        super().__init__()
        self._how = how

    def __reduce__(self):
        misbehave(self._how)

    def __str__(self):  # noqa: PLE0307 - it never returns
        misbehave("raise")


class OtherwiseError(Exception):
    """Is restored as something that is no exception."""

    def __reduce__(self):
        return str, ("not an exception",)


def raise_error(kind, *arguments):
    raise kind(*arguments)


def raise_group():
    raise ExceptionGroup("several", [KeyError("one"), ValueError("two")])


class RaisesElsewhere:
    """Cannot be restored in the process with this pid's memory: neither can be the client's."""

    def __init__(self, how):
        self.how = how
        self.pid = os.getpid()

    def __setstate__(self, state):
        if os.getpid() != state["pid"]:
            misbehave(state["how"])


def give_elsewhere(how):
    return RaisesElsewhere(how)
