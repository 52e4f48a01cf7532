"""A program that has tasks run and checks every result: `python -m tests.soak.client ADDRESS TASKS SEED`.

Says how many results it has, `progress 100`, and in the end one line that counts what became of the tasks. Its exit
code is 0 if every future has ended, and every result is right.
"""

import concurrent.futures
import hashlib
import sys
import time
from collections import Counter
from random import Random

from scaler import Client

PATIENCE_SECONDS = 120.0
LARGE_BYTES = 100_000
"""More than what goes to the object storage."""


def square(number, seconds):
    """Take a while."""
    time.sleep(seconds)
    return number * number


def digest(data, seconds):
    """Take a large argument."""
    time.sleep(seconds)
    return hashlib.sha256(data).hexdigest()


def grow(seed, seconds):
    """Give a large result."""
    time.sleep(seconds)
    return large(seed)


def large(seed):
    """Return a large value, the same for the same seed."""
    return Random(seed).randbytes(LARGE_BYTES)


def draw(rng, number):
    """Return a function, its arguments, and what is to come of it."""
    seconds = rng.choices((0.0, 0.001, 0.003, 0.02, 0.2, 1.0), (400, 200, 200, 190, 9, 1))[0]
    kind = rng.random()
    if kind < 0.9:
        return square, (number, seconds), number * number
    data = large(number % 7)
    if kind < 0.95:
        return digest, (data, seconds), hashlib.sha256(data).hexdigest()
    return grow, (number % 7, seconds), data


def main(address, tasks, seed):
    """Return the exit code."""
    rng = Random(seed)
    outcomes = Counter()
    wrong = 0
    with Client(address, timeout_seconds=60, heartbeat_interval_seconds=1) as client:
        say("connected")
        expected = {}
        for number in range(tasks):
            fn, arguments, result = draw(rng, number)
            expected[client.submit(fn, *arguments)] = result
        say("submitted")
        for done, future in enumerate(concurrent.futures.as_completed(expected, PATIENCE_SECONDS), 1):
            try:
                wrong += future.result() != expected[future]
                error = None
            except Exception as raised:  # noqa: BLE001 - it is counted
                error = raised
            outcomes["right" if error is None else type(error).__name__] += 1
            if error is not None and outcomes[type(error).__name__] == 1:
                say(f"error {error!r}"[:500])
            if done % max(1, tasks // 50) == 0:
                say(f"progress {done}")
    say(f"outcomes {dict(outcomes)} wrong {wrong}")
    return 1 if wrong or sum(outcomes.values()) != tasks else 0


def say(text):
    """Write a line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
