"""Real processes under attack, and an honest client whose work has to go on."""

import threading
from collections import Counter
from contextlib import ExitStack
from random import Random
from typing import Self

import psutil

from scaler import Client
from tests.fuzz.attacks import Attack
from tests.integration.commands import running

MAX_GROWTH_BYTES = 700 << 20
"""Most that a process may grow by. A peer's own share is bounded: what it may have unread, its functions, its tasks."""

LARGE_BYTES = 100_000
"""So large values go to the object storage."""


def double(value: int) -> int:
    """Do an honest task."""
    return 2 * value


def grow(data: bytes) -> bytes:
    """Take and give a value that lies in the object storage."""
    return data + data


class Service:
    """A scheduler with its monitor and an object storage, two workers, and a client that works without end.

    Its values travel in messages and through the object storage.
    """

    def __init__(self) -> None:
        self.rounds = 0
        self.growth: Counter[str] = Counter()
        """By how many bytes each attack has made its target grow, at most."""
        self.failure: BaseException | None = None
        self._stopping = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        run = self._stack.enter_context
        storage = run(running("scaler_object_storage", "tcp://127.0.0.1:0"))
        storage_address = storage.wait_for_line("object storage listening on").split()[-1]
        scheduler = run(running("scaler_scheduler", "tcp://127.0.0.1:0", "-osa", storage_address, "--protected"))
        address = scheduler.wait_for_line("scheduler listening on").split()[-1]
        monitor_address = scheduler.wait_for_line("monitor listening on").split()[-1]
        self.command_of = {"scheduler": scheduler, "object storage": storage, "monitor": scheduler}
        self.address_of = {"scheduler": address, "object storage": storage_address, "monitor": monitor_address}
        run(running("scaler_adapter_fixed_native", address, "--max-workers", 2))
        self.client = run(Client(address))
        assert self.client.map(double, range(100)) == [2 * n for n in range(100)]
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        self._stack.callback(self._stop)
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    def attack(self, target: str, attack: Attack, seed: int) -> None:
        """Attack one of the three sockets; afterwards everybody must be well and have done work meanwhile."""
        command, address = self.command_of[target], self.address_of[target]
        process = psutil.Process(command.process.pid)
        peak = _Peak(process)
        before = process.memory_info().rss
        with peak:
            attack(address, Random(seed))
            self.prove_alive()
        grown = peak.bytes - before
        name = f"{target} {attack.__name__}"
        self.growth[name] = max(self.growth[name], grown)
        assert grown < MAX_GROWTH_BYTES, f"{attack.__name__}: grew by {grown >> 20} MiB"
        assert command.process.poll() is None, f"{attack.__name__} ended it:\n{command.output}"

    def prove_alive(self) -> None:
        """Wait until the honest client has had two more rounds."""
        goal = self.rounds + 2
        waited = threading.Event()
        for _ in range(6000):
            if self.rounds >= goal:
                return
            assert self.failure is None, repr(self.failure)
            waited.wait(0.01)
        raise AssertionError("the honest client's map does not go on")

    def _work(self) -> None:
        numbers = range(300)
        expected = [2 * number for number in numbers]
        data = bytes(LARGE_BYTES)
        try:
            while not self._stopping.is_set():
                assert self.client.map(double, numbers) == expected
                assert self.client.submit(grow, data).result() == data + data
                self.rounds += 1
                self._stopping.wait(0.005)
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            self.failure = error

    def _stop(self) -> None:
        self._stopping.set()
        self._thread.join()


class _Peak:
    """The most memory that a process had while the block ran."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.bytes = max(self.bytes, self._process.memory_info().rss)
            if self._stopping.wait(0.02):
                return
