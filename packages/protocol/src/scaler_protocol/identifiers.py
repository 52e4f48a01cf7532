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


def new_worker_id(name: str) -> str:
    """Return `Worker|<name>|<32 hex digits>`."""
    return f"Worker|{name}|{new_id().hex()}"


def new_client_identity() -> bytes:
    """Return `Client|` and 32 hex digits."""
    return b"Client|" + new_id().hex().encode()


def counted(prefix: str) -> Callable[[], str]:
    """Return a function that gives `<prefix>1`, `<prefix>2` and so on."""
    numbers = itertools.count(1)
    return lambda: f"{prefix}{next(numbers)}"


def short_host_name() -> str:
    """Return this machine's name up to the first dot."""
    return socket.gethostname().split(".", maxsplit=1)[0]
