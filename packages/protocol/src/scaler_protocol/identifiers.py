"""Identifiers that travel: random where strangers must not collide, counted where one owner mints them."""

import itertools
import os
import socket
from collections.abc import Callable
from hashlib import blake2b

ID_BYTES = 16
"""Length in bytes of session ids, secrets, instance ids and function ids."""


def new_id() -> bytes:
    """Return 16 random bytes."""
    return os.urandom(ID_BYTES)


def content_id(content: bytes) -> bytes:
    """Return the 16-byte BLAKE2b digest (RFC 7693) of `content`."""
    return blake2b(content, digest_size=ID_BYTES).digest()


def result_key(client_id: bytes, slice_id: int, task: int) -> bytes:
    """Return the key under which a worker stores the result of a task of a slice.

    So that it can be deleted, should the worker end before it has said that there is one. Slices have numbers that are
    never used again.
    """
    return content_id(b"%b%b%b" % (client_id, slice_id.to_bytes(8, "little"), task.to_bytes(4, "little")))


def new_worker_id(name: str) -> str:
    """Return `Worker|<name>|<32 hex digits>`."""
    return f"Worker|{name}|{new_id().hex()}"


def worker_ids_of(group_id: str, name: str, count: int) -> tuple[str, ...]:
    """Return the ids of a group's workers, so that whoever starts the group and its workers need not tell each other.

    `name` is what their ids shall say beside the digits.
    """
    return tuple(f"Worker|{name}|{content_id(f'{group_id}/{index}'.encode()).hex()}" for index in range(count))


def helper_id(worker_id: str, name: str) -> str:
    """Return the id of a helper of a worker, or of a helper's own: `<worker id>+<name>`."""
    return f"{root_of(worker_id)}+{name}"


def root_of(worker_id: str) -> str:
    """Return the worker that a helper belongs to; any other worker belongs to itself."""
    head, bar, tail = worker_id.rpartition("|")  # names may hold a plus, the digits after them do not
    return f"{head}{bar}{tail.partition('+')[0]}"


def counted(prefix: str) -> Callable[[], str]:
    """Return a function that gives `<prefix>1`, `<prefix>2` and so on."""
    numbers = itertools.count(1)
    return lambda: f"{prefix}{next(numbers)}"


def short_host_name() -> str:
    """Return this machine's name up to the first dot."""
    return socket.gethostname().split(".", maxsplit=1)[0]
