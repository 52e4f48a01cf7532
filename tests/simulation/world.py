"""The virtual clock: what is to happen, in the order of time. All chance comes from one seed."""

import heapq
import re
from collections.abc import Callable
from itertools import count
from random import Random

from tests.simulation.faults import Faults, draw


class World:
    """Time, chance and faults of one simulation; `after_each` is called after every event."""

    def __init__(self, seed: int) -> None:
        self.now = 1000.0
        self.rng = Random(seed)
        self.faults: Faults = draw(self.rng)
        self.after_each: Callable[[], None] = lambda: None
        self.trace: list[str] | None = None
        self.events = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._ids = count(1)

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something after a while."""
        heapq.heappush(self._heap, (self.now + seconds, next(self._order), action))

    def run(self, until: float, finished: Callable[[], bool] = lambda: False) -> bool:
        """Go on until a moment, or until something is true; return whether it is."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action = heapq.heappop(self._heap)
            action()
            self.events += 1
            self.after_each()
            if finished():
                return True
        self.now = until
        return finished()

    def new_id(self, letter: str) -> bytes:
        """Return 16 bytes that no other call returns."""
        return f"{letter}{next(self._ids)}".encode().ljust(16, b"-")

    def chance(self, share: float) -> bool:
        """Throw a dice."""
        return share > 0.0 and self.rng.random() < share

    def happens(self, rate: float, seconds: float) -> bool:
        """Whether something of this rate happens within some seconds."""
        return self.chance(min(1.0, rate * seconds))

    def delay(self) -> float:
        """Return how long a packet takes."""
        return 0.0002 + self.faults.delay_seconds * self.rng.random() ** 3

    def log(self, text: str) -> None:
        """Keep a line of the story, if somebody wants to read it."""
        if self.trace is not None:
            self.trace.append(f"{self.now - 1000.0:9.4f} {_PID.sub('', text)}")


_PID = re.compile(r" \(pid \d+\)")
