"""A client for a room in which memory and disk are small: `python -m tests.integration.full_room_client ADDRESS`.

Fills it with results, works on meanwhile, lets them go, and says what happened as one line of JSON.
"""

import concurrent.futures
import json
import os
import signal
import sys
import time

from scaler import Client

MIB = 1 << 20
HELD = 40
"""Results of a MiB: more than memory and disk together have room for."""

PATIENCE_SECONDS = 60


def make(count):
    """Return a large result."""
    return b"x" * count


def size(data):
    """Take a large argument."""
    return len(data)


def main(address):
    """Return nothing; any failure that is not expected ends the program."""
    with Client(address, timeout_seconds=30) as client:
        told = {"before": client.map(abs, range(-3, 0))}
        held = [client.submit(make, MIB) for _ in range(HELD)]
        concurrent.futures.wait(held)
        errors = [future.exception() for future in held]
        told["right"] = sum(
            error is None and future.result() == make(MIB) for error, future in zip(errors, held, strict=True)
        )
        told["failed"] = sorted({f"{type(error).__name__}: {error}" for error in errors if error is not None})
        told["argument"] = failure_of(lambda: client.submit(size, bytes(12 * MIB)).result())
        told["meanwhile"] = client.map(abs, range(-3, 0))
        os.kill(client.submit(os.getpid).result(), signal.SIGKILL)
        told["another worker"] = client.map(abs, range(-3, 0))
        del held, errors
        told["after"] = come_back(client)
    sys.stdout.write(f"told {json.dumps(told)}\n")


def failure_of(call):
    """Return what a call raises, as text."""
    try:
        return f"no failure but {call()!r}"
    except Exception as error:  # noqa: BLE001 - it is told
        return f"{type(error).__name__}: {error}"


def come_back(client):
    """Return the size of a large value that goes there and back, once there is room."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return client.submit(size, bytes(3 * MIB)).result(), len(client.submit(make, 3 * MIB).result())
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1])
