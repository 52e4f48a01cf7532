"""How evenly work of uneven length is spread: one long task among short ones, two lengths, a slow worker.

python -m benchmarks.balance SYSTEM

Prints wall times as lines of JSON, most of them as multiples of what nobody could beat.
"""

import concurrent.futures
import random
import sys
import time

from benchmarks import tasks
from benchmarks.moments import say
from benchmarks.systems.system import start, worker_pids

MANY_WORKERS = 10
FEW_WORKERS = 4
SLOWNESS = 10


def main() -> None:
    """Measure and print. Nearly all tasks sleep, so that there may be more workers than cores."""
    system = start(sys.argv[1], MANY_WORKERS)
    try:
        worker_pids(system, MANY_WORKERS)
        say("ten tasks of 1 s on ten workers", "s", _seconds(lambda: system.map(tasks.nap, [1.0] * MANY_WORKERS)))
    finally:
        system.close()
    system = start(sys.argv[1], FEW_WORKERS)
    try:
        worker_pids(system, FEW_WORKERS)
        say("10,000 trivial tasks, submitted behind one of 2 s", "s", _beside_a_long_one(system))
        lengths = [0.05 if number % 10 == 0 else 0.0005 for number in range(2_000)]
        random.Random(1).shuffle(lengths)
        say("one task in ten is 100 times as long", "x the ideal", _times_ideal(system, lengths))
        lengths = [random.Random(number).uniform(0.005, 0.05) for number in range(200)]
        say("lengths from 5 to 50 ms", "x the ideal", _times_ideal(system, lengths))
        say("one worker in four is ten times as slow", "x the ideal", _beside_a_slow_worker(system))
    finally:
        system.close()


def _beside_a_long_one(system) -> float:
    long = system.submit(tasks.nap, 2.0)
    try:
        return _seconds(lambda: _all([system.submit(tasks.increment, number) for number in range(10_000)]))
    finally:
        long.result()


def _times_ideal(system, lengths: list[float]) -> float:
    return _seconds(lambda: system.map(tasks.nap, lengths)) / (sum(lengths) / FEW_WORKERS)


def _beside_a_slow_worker(system) -> float:
    nap_seconds, count = 0.01, 1_000
    slow = system.submit(tasks.pid_after, 0.0).result()
    naps = {"else": nap_seconds, slow: nap_seconds * SLOWNESS}
    seconds = _seconds(lambda: system.map(tasks.nap_by_process, [naps] * count))
    return seconds / (count * nap_seconds / (FEW_WORKERS - 1 + 1 / SLOWNESS))


def _all(futures) -> list:
    if isinstance(futures[0], concurrent.futures.Future):
        concurrent.futures.wait(futures)
    return [future.result() for future in futures]


def _seconds(run) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
