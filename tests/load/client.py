"""A program that has tasks run, round after round, until SIGTERM: `python -m tests.load.client ADDRESS SEED`.

Says after each round how many results it has had. Its exit code is 0 if every result was right.
"""

import signal
import sys
import time
from random import Random

from scaler import Client

LARGE_BYTES = 100_000
"""More than what goes to the object storage."""

TIMEOUT_SECONDS = 60


def square(number):
    """Do next to nothing."""
    return number * number


def pause(number, seconds):
    """Take a while."""
    time.sleep(seconds)
    return number


def measure(data):
    """Take a large argument."""
    return len(data), data[:8]


def grow(number):
    """Give a large result."""
    return number.to_bytes(8, "little") * (LARGE_BYTES // 8)


def many(client, rng):
    """Map over many numbers."""
    first = rng.randrange(1000)
    numbers = range(first, first + 500)
    assert client.map(square, numbers) == [number * number for number in numbers]
    return len(numbers)


def single(client, rng):
    """Submit calls of mixed length one by one."""
    futures = [client.submit(pause, number, rng.choice((0.0, 0.001, 0.01, 0.05))) for number in range(50)]
    assert [future.result() for future in futures] == list(range(50))
    return len(futures)


def large(client, rng):
    """Send and fetch values that lie in the object storage."""
    data = rng.randbytes(LARGE_BYTES)
    sent = [client.submit(measure, data) for _ in range(5)]
    made = [client.submit(grow, number) for number in range(5)]
    assert [future.result() for future in sent] == [(LARGE_BYTES, data[:8])] * 5
    assert [future.result() for future in made] == [grow(number) for number in range(5)]
    return len(sent) + len(made)


def main(address, seed):
    """Return the exit code."""
    ending = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
    rng = Random(seed)
    done = 0
    with Client(address, timeout_seconds=TIMEOUT_SECONDS, heartbeat_interval_seconds=1) as client:
        while not ending:
            done += rng.choice((many, single, large))(client, rng)
            sys.stdout.write(f"done {done}\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
