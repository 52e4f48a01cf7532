"""Tasks for tests of futures as arguments and of graphs, and how these wait for them."""

import os
import uuid
from pathlib import Path

from scaler import Client
from scaler.client.serializer.default import DefaultSerializer
from scaler_protocol.batch import STORED_BYTES
from tests.integration.commands import wait_until


def inc(value):
    return value + 1


def add(*values):
    return sum(values)


def give(value=7):
    return value


def both(first, /, second, *, third=0, **others):
    return first, second, third, sorted(others.items())


def refuse(*_):
    raise ValueError("refused on purpose")


def leave(*_):
    os._exit(3)


def pid(*_):
    return os.getpid()


def large(seed):
    return bytes([seed % 251]) * (2 * STORED_BYTES)


def measure(*values):
    return [(len(value), value[:1]) for value in values]


def note(folder, name, *_):
    """Say that a task has run."""
    (Path(folder) / f"{name}.{uuid.uuid4().hex}").touch()
    return name


def hold(folder, *_):
    """Run until the test lets go."""
    (Path(folder) / f"held.{os.getpid()}").touch()
    wait_until((Path(folder) / "let go").exists)
    return os.getpid()


def wait_for(folder, name):
    return wait_until(lambda: list(Path(folder).glob(f"{name}.*")), lambda: f"{name} has not run")


def let_go(folder):
    (Path(folder) / "let go").touch()


def nested_graph(client, count):
    """Without a client, make one in the task."""
    if client is None:
        with Client() as own:
            return nested_graph(own, count)
    graph = {"n0": 1, **{f"n{number}": (inc, f"n{number - 1}") for number in range(1, count)}}
    return client.get(graph, [f"n{count - 1}"])[f"n{count - 1}"]


class Custom(DefaultSerializer):
    """Not the default one, though it does the same."""


class Unpickled:
    """Counts how often one is restored in this process."""

    count = 0

    def __setstate__(self, state):
        type(self).count += 1


def unpickled(*_):
    made = Unpickled()
    made.state = 1
    return made
