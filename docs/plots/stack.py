"""A scheduler and adapters as real commands, and somebody who looks at them all the time."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import psutil

from examples.word_count import command, listening_address
from scaler import Client

SETTLING_SECONDS = 11.0
"""A new scheduler stops no worker in its first 10 seconds; pictures begin after that."""
PATIENCE_SECONDS = 90.0
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class AdapterCommand:
    """An adapter, by the name it has in the picture."""

    name: str
    options: Sequence[str]
    program: str = "scaler_worker_adapter_native"


@dataclass
class Run:
    """What was seen: at some seconds, the unfinished tasks by kind and the workers by adapter."""

    seconds: list[float] = field(default_factory=list[float])
    tasks: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    workers: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    @property
    def most_workers(self) -> int:
        """Return the most workers at one time."""
        return max(map(sum, zip(*self.workers.values(), strict=True)))


class Observer(threading.Thread):
    """Looks at the tasks and at the adapters' processes until it is told to stop."""

    def __init__(self, adapters: dict[str, int], tasks: dict[str, Callable[[], int]]) -> None:
        super().__init__(daemon=True)
        self.seen = Run(tasks={name: [] for name in tasks}, workers={name: [] for name in adapters})
        self.began_at = time.monotonic()
        self._adapters = {name: psutil.Process(pid) for name, pid in adapters.items()}
        self._tasks = tasks
        self._stopping = threading.Event()

    def run(self) -> None:
        """Look at regular times."""
        while not self._stopping.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Write down one moment."""
        self.seen.seconds.append(time.monotonic() - self.began_at)
        for name, count in self._tasks.items():
            self.seen.tasks[name].append(count())
        for name, adapter in self._adapters.items():
            # The adapter's child forks the workers: they are its grandchildren.
            workers = len(adapter.children(recursive=True)) - len(adapter.children())
            self.seen.workers[name].append(workers)

    def wait_until(self, at_seconds: float) -> None:
        """Wait for a moment of the picture."""
        time.sleep(max(0.0, self.began_at + at_seconds - time.monotonic()))

    def wait_until_gone(self, adapter: str, count: int = 0) -> None:
        """Wait until an adapter has so many workers."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.seen.workers[adapter][-1] != count:
            if time.monotonic() > deadline:
                raise TimeoutError("the workers do not go")
            time.sleep(LOOK_SECONDS)

    def stop(self) -> Run:
        """Return all that was seen."""
        self._stopping.set()
        self.join()
        return self.seen


@contextmanager
def stack(policy: str, adapters: Sequence[AdapterCommand]) -> "Iterator[tuple[Client, dict[str, int]]]":
    """Run everything; gives a client, and each adapter's pid by its name, when the scheduler has settled."""
    with ExitStack() as running:
        scheduler = running.enter_context(command("scaler_scheduler", "tcp://127.0.0.1:0", "--policy-content", policy))
        address = listening_address(scheduler)
        pids: dict[str, int] = {}
        for adapter in adapters:
            process = running.enter_context(command(adapter.program, address, *adapter.options))
            pids[adapter.name] = process.pid
        client = running.enter_context(Client(address))
        time.sleep(SETTLING_SECONDS)
        yield client, pids
