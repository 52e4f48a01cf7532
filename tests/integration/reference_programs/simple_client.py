"""Futures, map and errors with a combo, as in a first tutorial."""

# ruff: noqa: T201 - what a program prints is its result

import math
import time
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures import as_completed

from scaler import Client
from scaler.cluster.combo import SchedulerClusterCombo


def noop(sec: int) -> int:
    time.sleep(sec / 1000)
    return sec * 1


def fails(value):
    raise ValueError(f"no {value}")


def with_keywords(value, *, plus=0):
    return value + plus


def main():
    cluster = SchedulerClusterCombo(n_workers=2)
    client = Client(address=cluster.get_address())

    tasks = list(range(100))
    futures = [client.submit(noop, i) for i in tasks[:10]]
    print("RESULT", [f.result() for f in futures] == tasks[:10])
    print("RESULT", round(sum(f.result() for f in as_completed([client.submit(math.sqrt, i) for i in tasks]))))
    print("RESULT", client.map(with_keywords, tasks) == tasks)
    print("RESULT", client.starmap(with_keywords, [(1,), (2,)]))
    print("RESULT", client.submit(with_keywords, 1, plus=2).result())
    print("RESULT", client.submit_verbose(with_keywords, (1,), {"plus": 3}, capabilities={}).result())
    try:
        client.submit(fails, 3).result()
    except ValueError as error:
        print("RESULT", error)
    try:
        client.submit(time.sleep, 100).result(timeout=0.01)
    except FutureTimeoutError:
        print("RESULT timeout")
    client.clear()
    client.disconnect()

    with Client(address=cluster.get_address(), profiling=True) as client:
        future = client.submit(sum, range(1000))
        print("RESULT", future.result(), future.profiling_info().duration_s > 0, future.cancel())
    cluster.shutdown()


if __name__ == "__main__":
    main()
