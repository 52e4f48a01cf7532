"""A client on a host of its own: `python -m tests.engines.far_client ADDRESS WHAT FOLDER COUNT`."""

import os
import sys
import time
from pathlib import Path

from scaler import Client

MIB = 1 << 20
_SECONDS = 0.05


def mark(folder, number):
    """Note that a task was executed, and where."""
    descriptor = os.open(Path(folder) / "executions", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{number} {os.getpid()}\n".encode())
    finally:
        os.close(descriptor)
    time.sleep(_SECONDS)
    return 3 * number


def doubled(value):
    return value * 2


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def values(client, folder, count):
    """Move values of a MiB to the workers, and of two back."""
    sent = [bytes([number]) * MIB for number in range(count)]
    assert client.map(doubled, sent) == [value * 2 for value in sent]
    say("values are right")


def tasks(client, folder, count):
    """Have tasks executed while links are cut; each has its result, once."""
    futures = [client.submit(mark, folder, number) for number in range(count)]
    say("submitted")
    assert [future.result() for future in futures] == [3 * number for number in range(count)]
    say("results are right")


def one(client, folder, count):
    """Wait for one task that ends when it is told to."""
    from tests.engines.slurm import begin_and_end

    futures = [client.submit(begin_and_end, Path(folder), number) for number in range(count)]
    say("submitted")
    assert [future.result() for future in futures] == list(range(count))
    say("results are right")


if __name__ == "__main__":
    address, what, folder, count = sys.argv[1:]
    with Client(address) as client:
        {"values": values, "tasks": tasks, "one": one}[what](client, folder, int(count))
