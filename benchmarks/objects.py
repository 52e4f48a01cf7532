"""GB/s of the object storage beside memcpy of the same size, in turns in one run.

hatch run benchmarks:objects

*put*: an object is stored, and the one before the last deleted, so that files are written again as in a long run.
*put, fresh*: nothing is deleted. *get*: a view of what was stored, read once from beginning to end.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import zmq
from rich.console import Console
from rich.table import Table

from scaler_object_storage.connector import ObjectStorageConnector
from scaler_object_storage.values import Parts
from scaler_protocol.addresses import Address

SIZES = (64 << 10, 1 << 20, 64 << 20)
BYTES_A_TURN = 256 << 20
TURNS = 5
OWNER = b"benchmark"


def main() -> None:
    """Measure and print a table of medians, with their share of memcpy."""
    table = Table("GB/s, median of turns", *(f"{size / (1 << 20):g} MiB" for size in SIZES))
    with _connector() as connector:
        columns = [_measure(connector, size) for size in SIZES]
    for name in columns[0]:
        table.add_row(name, *(f"{column[name]:.1f} ({column[name] / column['memcpy']:.0%})" for column in columns))
    Console().print(table)


def _measure(connector: ObjectStorageConnector, size: int) -> dict[str, float]:
    count = max(4, min(1000, BYTES_A_TURN // size))
    sources = [memoryview(os.urandom(size)) for _ in range(min(count, 64))]
    target = memoryview(bytearray(size))
    names = iter(range(1 << 30))
    recent: list[bytes] = []

    def copy(number: int) -> None:
        target[:] = sources[number % len(sources)]

    def put(number: int) -> None:
        recent.append(b"%d" % next(names))
        connector.put(recent[-1], OWNER, Parts.of(sources[number % len(sources)]))

    def put_and_delete(number: int) -> None:
        put(number)
        if len(recent) > 2:
            connector.delete([recent.pop(0)])

    def get(number: int) -> None:
        target[:] = connector.get(recent[number % len(recent)])

    def tidy() -> None:
        connector.delete(recent)
        recent.clear()
        connector.statistics()  # when it is answered they are deleted

    rates: dict[str, list[float]] = {}
    for _ in range(TURNS):
        for name, work in (("memcpy", copy), ("put", put_and_delete), ("get", get)):
            rates.setdefault(name, []).append(_rate(work, count, size))
        tidy()
        rates.setdefault("put, fresh", []).append(_rate(put, min(count, 32), size))
        tidy()
    return {name: statistics.median(found) for name, found in rates.items()}


def _rate(work: Callable[[int], None], count: int, size: int) -> float:
    began = time.perf_counter()
    for number in range(count):
        work(number)
    return count * size / (time.perf_counter() - began) / 1e9


@contextlib.contextmanager
def _connector() -> Iterator[ObjectStorageConnector]:
    command = [sys.executable, "-m", "scaler_object_storage", "tcp://127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, zmq.Context() as context:
        address = server.stdout.readline().split()[-1]
        connector = ObjectStorageConnector(context, Address.from_string(address))
        try:
            yield connector
        finally:
            connector.close()
            server.terminate()


if __name__ == "__main__":
    main()
