"""A zygote whose children are entries of a script: what they say, and when they end."""

import queue
import signal
from typing import ClassVar

from scaler_runtime.zygote import Ended, Said, Started, ZygoteEnded


class FakeZygote:
    """Stands in for `scaler_runtime.zygote.Zygote`; children end by signals unless `stubborn`."""

    last = None
    says: ClassVar = {"scheduler": ("listening", "tcp://127.0.0.1:5555")}
    stubborn = False
    dies = ()

    def __init__(self, preload):
        self.preload = list(preload)
        self.pid = 41
        self.started = []
        self.signals = []
        self.closed_with = None
        self._pids = {}
        self._events = queue.Queue()
        type(self).last = self

    def start(self, key, target, arguments, *, ends_when_asked=False):
        assert ends_when_asked  # a program that is asked to stop before it has begun has ended in order
        self.started.append((key, target, arguments))
        self._pids[key] = 100 + len(self._pids)
        self._events.put(Started(key, self._pids[key]))
        if key in self.says:
            self._events.put(Said(key, self.says[key]))
        if key in self.dies:
            self.end(key, 1)

    def end(self, key, exit_code=None, number=None):
        self._events.put(Ended(key, self._pids[key], exit_code, number))

    def vanish(self):
        self._events.put(ZygoteEnded("killed"))

    def signal(self, key, number):
        self.signals.append((key, number))
        if number == signal.SIGKILL:
            self.end(key, None, signal.SIGKILL)
        elif not self.stubborn:
            self.end(key, 0)

    def wait_event(self, timeout):
        try:
            return self._events.get(timeout=timeout) if timeout != 0 else self._events.get_nowait()
        except queue.Empty:
            return None

    def close(self, grace_seconds=0.0):
        self.closed_with = grace_seconds
