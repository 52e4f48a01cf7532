"""A map of ten million items that come from a generator: how much memory client and scheduler take meanwhile.

python -m benchmarks.streaming SYSTEM
"""

import os
import sys
import threading
import time
from typing import Self

import psutil

from benchmarks import tasks
from benchmarks.moments import say
from benchmarks.systems.system import start

ITEMS = 10_000_000
_RESULT_BYTES = 8 * ITEMS  # the list that `map` returns; its items are shared
_PERIOD_SECONDS = 0.02


def main() -> None:
    """Measure and print. The result of every task is None, so that results take no more than their list."""
    system = start(sys.argv[1], 2)
    try:
        system.map(tasks.nothing, range(10_000))
        with Peak() as peak:
            began = time.perf_counter()
            results = system.map(tasks.nothing, (number for number in range(ITEMS)))
            seconds = time.perf_counter() - began
        if len(results) != ITEMS:
            raise AssertionError(f"{len(results)} results")
        say("rate", "tasks/s", ITEMS / seconds)
        say("growth of the client beside the list of results", "MiB", (peak.own - _RESULT_BYTES) / (1 << 20))
        say("growth of the process that grew most", "MiB", peak.others / (1 << 20))
    finally:
        system.close()


class Peak:
    """The most that this process, and any below it, has grown by (resident bytes), while entered."""

    def __init__(self) -> None:
        self.own = self.others = 0
        self._before: dict[int, int] = {}
        self._stopped = threading.Event()
        self._sampler = threading.Thread(target=self._sample)

    def __enter__(self) -> Self:
        self._before = self._sizes()
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._sampler.join()

    def _sample(self) -> None:
        while not self._stopped.wait(_PERIOD_SECONDS):
            for pid, size in self._sizes().items():
                grown = size - self._before.get(pid, 0)
                if pid == os.getpid():
                    self.own = max(self.own, grown)
                else:
                    self.others = max(self.others, grown)

    def _sizes(self) -> dict[int, int]:
        own = psutil.Process()
        return {process.pid: process.memory_info().rss for process in (own, *own.children(recursive=True))}


if __name__ == "__main__":
    main()
