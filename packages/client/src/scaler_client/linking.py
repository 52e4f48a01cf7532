"""Arguments of one call, ready to be sent: inline, or with links to what the object storage holds of them.

Futures among them are replaced by their results, or become sources: results that the call waits for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from scaler_client.future import ScalerFuture
from scaler_client.handles import Handle
from scaler_client.linked import AwaitedLink, InlineLink, Linked, Links, StoredLink, without, write_linked
from scaler_client.object_reference import ObjectReference
from scaler_client.serializer import Serializer, dump_call, dump_result
from scaler_client.sources import Source, has_result, result_of
from scaler_client.stored import dump_apart, dump_call_apart
from scaler_client.stored_result import StoredResult
from scaler_object_storage.values import Parts


class ArgumentStore(Protocol):
    """What is needed of a client's objects."""

    @property
    def is_available(self) -> bool:
        """Whether there is an object storage."""
        ...

    def put(self, parts: Parts) -> Handle:
        """Store an object."""
        ...

    def handle_of(self, reference: ObjectReference) -> Handle:
        """Return what keeps a sent object alive; `MissingObjects` if it is not there."""
        ...


@dataclass(slots=True, eq=False)
class LinkedCall:
    """The block of a call with `Encoding.LINKED`, and what must stay in the object storage until the task has ended."""

    block: bytes
    """Empty for a call that waits: what goes into it is known when it is sent."""
    handles: tuple[Handle, ...]
    stored_bytes: int = 0
    """Of the arguments that were stored for this call alone."""
    linked: Linked | None = None
    """Of a call that waits: the content of its block, with an `AwaitedLink` for each source, in their order."""
    sources: Sequence[ScalerFuture | Source] = ()

    @property
    def inline_bytes(self) -> int:
        """Bytes of the call in a message, without the results that it waits for."""
        return len(self.block) if self.linked is None else len(self.linked.call or b"")

    @property
    def size(self) -> int:
        """Bytes of the call wherever they are."""
        return self.inline_bytes + self.stored_bytes


@dataclass(slots=True, eq=False)
class Shared:
    """An argument of several calls, pickled once; `handle` keeps what is stored of it."""

    link: InlineLink | StoredLink
    handle: Handle | None = None


class Linker:
    """Turns the arguments of calls into blocks. Large ones are stored, where there is an object storage."""

    def __init__(
        self,
        serializer: Serializer,
        store: ArgumentStore,
        check_future: Callable[[ScalerFuture], object] = lambda _: None,
    ) -> None:
        """`check_future` raises `MissingObjects` for a future whose result this client does not hold."""
        self.serializer = serializer
        self._store = store
        self._check_future = check_future

    @property
    def stores(self) -> bool:
        """Whether large arguments go to an object storage."""
        return self._store.is_available

    def dump(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes | LinkedCall:
        """Return the block of a call, `Encoding.CALL` if it is nothing but bytes.

        Raises what pickling raises, `MissingObjects` and `ObjectStorageException`.
        """
        links, handles, sources, places = _NO_LINKS, (), (), _NOWHERE
        if not LINKED_TYPES.isdisjoint(map(type, (*args, *kwargs.values()) if kwargs else args)):
            args, kwargs = self._with_results(args, kwargs)
            links, handles, sources = self._links(args, kwargs)
            args, kwargs = without(args, kwargs, links)
            places = frozenset(links)
        if not self._store.is_available:
            dumped: bytes | Parts = dump_call(args, kwargs, self.serializer, places)
        else:
            dumped = dump_call_apart(args, kwargs, self.serializer, places)
        stored_bytes = 0
        if isinstance(dumped, Parts):
            handle = self._store.put(dumped)
            handles, stored_bytes = (*handles, handle), handle.size
            linked = Linked(None, handle.key, list(links.items()))
        elif links:
            linked = Linked(dumped, None, list(links.items()))
        else:
            return dumped
        if sources:
            return LinkedCall(b"", handles, stored_bytes, linked, sources)
        return LinkedCall(write_linked(linked), handles, stored_bytes)

    def share(self, value: object) -> Shared:
        """Pickle an argument that several calls have. Raises what pickling raises, and `ObjectStorageException`."""
        if not self._store.is_available:
            return Shared(InlineLink(dump_result(value, self.serializer)))
        dumped = dump_apart(value, self.serializer)
        if not isinstance(dumped, Parts):
            return Shared(InlineLink(dumped))
        handle = self._store.put(dumped)
        return Shared(StoredLink(handle.key), handle)

    def _with_results(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with the results of futures that have one, as they are now."""
        return tuple(map(self._with_result, args)), {name: self._with_result(value) for name, value in kwargs.items()}

    def _with_result(self, value: Any) -> Any:
        if type(value) is not ScalerFuture:
            return value
        self._check_future(value)
        return result_of(value) if has_result(value) else value

    def _links(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Links, tuple[Handle, ...], tuple[ScalerFuture | Source, ...]]:
        links: Links = {}
        handles: list[Handle] = []
        sources: list[ScalerFuture | Source] = []
        for place, value in (*enumerate(args), *kwargs.items()):
            if isinstance(value, (ScalerFuture, Source)):
                links[place] = AwaitedLink()
                sources.append(value)
            elif isinstance(value, Shared):
                links[place] = value.link
                if value.handle is not None:
                    handles.append(value.handle)
            elif type(value) in {ObjectReference, StoredResult}:
                handle = self._store.handle_of(value) if type(value) is ObjectReference else value.handle
                links[place] = StoredLink(handle.key)
                handles.append(handle)
        return links, tuple(handles), tuple(sources)


LINKED_TYPES: frozenset[type] = frozenset((ObjectReference, ScalerFuture, Source, Shared))
"""Top-level arguments of these types become links, or results."""

_NO_LINKS: Links = {}
_NOWHERE: frozenset[int | str] = frozenset()
