"""Calls whose arguments are partly elsewhere: the blocks of `Encoding.LINKED`.

A *link* stands for one top-level argument. What it leads to is put in its place where the call is loaded: an object in
the object storage, a result that travels along, or one that the scheduler adds when the task that makes it has ended.
"""

import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from scaler_client.serializer import (
    PROTOCOL,
    Buffer,
    Serializer,
    dump_call,
    is_default,
    load_call,
    load_result,
    load_values,
)
from scaler_client.stored import load_stored
from scaler_object_storage.values import Pieces, load_value
from scaler_protocol.batch import Status, unpack_stored

Place = int | str
"""Which argument: the number of a positional one, or a keyword."""


class Source(Protocol):
    """Where objects come from. Both raise where that is not possible."""

    def fetch(self, key: bytes) -> memoryview:
        """Return the bytes of an object that is needed once."""
        ...

    def fetch_value(self, key: bytes) -> memoryview | Pieces:
        """Do the same for a value that the default serializer has pickled."""
        ...

    def fetch_shared(self, key: bytes) -> memoryview:
        """Return the bytes of an object that other tasks may need too."""
        ...


class StoredLink(NamedTuple):
    """To an object that holds one value: one that was sent, or a large result."""

    key: bytes


class InlineLink(NamedTuple):
    """To a small result that has been delivered to the client: its bytes, as `dump_result` gives them."""

    payload: bytes


class AwaitedLink(NamedTuple):
    """To a result that the scheduler adds. The n-th one of a task is its n-th entry in the dependency columns."""


Link = StoredLink | InlineLink | AwaitedLink


class Linked(NamedTuple):
    """A block. The call is inline, or in the object storage; None stands there in the place of each link."""

    call: bytes | None
    """As `dump_call` gives it."""

    stored: bytes | None
    """The key of the object that holds the call instead: what `dump_call_apart` gave."""

    links: list[tuple[Place, Link]]


class Awaited(NamedTuple):
    """A result that the scheduler added: a run of `status`, in which the result is the one at `position`."""

    status: int
    position: int
    run: Buffer


class Made(NamedTuple):
    """A result that was made in the same process, and that nobody can change."""

    value: object


Links = dict[Place, Link]


def dump_linked(args: tuple[Any, ...], kwargs: dict[str, Any], links: Links, serializer: Serializer) -> bytes:
    """Return the block of a call that is small but for what its links lead to; these arguments are left out of it."""
    rest, named = without(args, kwargs, links)
    return write_linked(Linked(dump_call(rest, named, serializer, frozenset(links)), None, list(links.items())))


def without(args: tuple[Any, ...], kwargs: dict[str, Any], links: Links) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with None in the place of each link."""
    return (
        tuple(None if number in links else value for number, value in enumerate(args)),
        {name: None if name in links else value for name, value in kwargs.items()},
    )


def write_linked(linked: Linked) -> bytes:
    """Return the bytes of a block."""
    links = [(place, _NUMBERS[type(link)], *link) for place, link in linked.links]
    return pickle.dumps((linked.call, linked.stored, links), PROTOCOL)


def read_linked(block: Buffer) -> Linked:
    """Return what `write_linked` was given."""
    call, stored, links = pickle.loads(block)
    return Linked(call, stored, [(place, _KINDS[kind](*parts)) for place, kind, *parts in links])


def load_linked(
    block: Buffer, serializer: Serializer, source: Source, awaited: Sequence[Awaited | Made] = ()
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of the call. Raises what `source` and unpickling raise."""
    linked = read_linked(block)
    skipped = frozenset(place for place, _ in linked.links)
    if linked.call is not None:
        args, kwargs = load_call(linked.call, serializer, skipped)
    elif linked.stored is not None:
        stored = source.fetch_value(linked.stored) if is_default(serializer) else source.fetch(linked.stored)
        args, kwargs = load_stored_call(stored, serializer, skipped)
    else:
        raise ValueError("a linked call without arguments")
    if not linked.links:
        return args, kwargs
    results = _Results(awaited, serializer, source)
    positional = list(args)
    for place, link in linked.links:
        value = _follow(link, serializer, source, results)
        if isinstance(place, int):
            positional[place] = value
        else:
            kwargs[place] = value
    return tuple(positional), kwargs


def load_stored_call(
    stored: memoryview | Pieces, serializer: Serializer, skipped: frozenset[Place] = frozenset()
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments that `dump_call_apart` made parts of."""
    if isinstance(stored, Pieces) or is_default(serializer):
        return load_value(stored)
    return load_call(stored, serializer, skipped)


class _Results:
    """The results that one call waited for, in the order of its links."""

    def __init__(self, awaited: Sequence[Awaited | Made], serializer: Serializer, source: Source) -> None:
        self._left = iter(awaited)
        self._serializer = serializer
        self._source = source
        self._lists: dict[int, list[Any]] = {}  # by the identity of their run: many may come from one

    def next(self) -> Any:
        """Return the next one."""
        result = next(self._left, None)
        if result is None:
            raise ValueError("a result that a task waits for did not come with it")
        if isinstance(result, Made):
            return result.value
        if result.status == Status.STORED:
            return load_stored(self._source.fetch_shared(unpack_stored(bytes(result.run))[1]), self._serializer)
        if result.status != Status.VALUES:
            return load_result(result.run, self._serializer)
        values = self._lists.get(id(result.run))
        if values is None:
            values = self._lists[id(result.run)] = load_values(result.run)
        return values[result.position]


def _follow(link: Link, serializer: Serializer, source: Source, results: _Results) -> Any:
    if isinstance(link, StoredLink):
        return load_stored(source.fetch_shared(link.key), serializer)
    if isinstance(link, InlineLink):
        return load_result(link.payload, serializer)
    return results.next()


_KINDS: tuple[type[Link], ...] = (StoredLink, InlineLink, AwaitedLink)
_NUMBERS: dict[type[Any], int] = {kind: number for number, kind in enumerate(_KINDS)}
