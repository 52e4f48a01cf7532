"""The client: submits functions to a scheduler and hands out futures."""

import math
import warnings
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from scaler_client import context
from scaler_client.calls import Terms
from scaler_client.functions import Function, Functions, check_size
from scaler_client.future import ScalerFuture
from scaler_client.graph import checked_keys, cull_graph
from scaler_client.graph_call import GraphCall, GraphOptions
from scaler_client.linking import Linker
from scaler_client.mapping import MapCall, chunks
from scaler_client.object_reference import ObjectReference
from scaler_client.packing import Packed, pack_calls, pack_values, shared_encoding
from scaler_client.serializer import DefaultSerializer, Serializer, is_default
from scaler_client.stored import whole_parts
from scaler_protocol.addresses import Address
from scaler_protocol.batch import Encoding
from scaler_protocol.messages import Capabilities

_DEFAULT_SERIALIZER = DefaultSerializer()
_ANYWHERE: Capabilities = {}
_ROWS = (list, tuple)
_MOST = 1 << 63  # quantities travel as signed numbers of 64 bits
_LONGEST_SECONDS = 1e9  # more is no time to wait for the system; it is as good as for ever
_LONGEST_BEAT_SECONDS = 86_400.0  # the protocol allows no more
_OUR_CALLER = 3  # from a private method of the client to the code that called a public one


class Client:
    """A connection to a scheduler. All methods may be called from several threads.

    Ends with `disconnect`, at the end of a `with` block, or when nothing refers to it any more. Pickling keeps the
    arguments; unpickling connects a new client.
    """

    def __init__(  # noqa: PLR0917 - the contract's order
        self,
        address: str | None = None,
        profiling: bool = False,
        timeout_seconds: float = 60,
        heartbeat_interval_seconds: float = 2,
        serializer: Serializer = _DEFAULT_SERIALIZER,
        stream_output: bool = False,
        object_storage_address: str | None = None,
    ) -> None:
        """Connect to the scheduler at `address`; None, inside a task: to that of its worker.

        `object_storage_address` is used in place of the one that the scheduler announces.

        Raises `ValueError` for a bad address or number, `TimeoutError` if scheduler or object storage do not answer
        within `timeout_seconds`, which is also how long they are waited for later, and `ClientQuitException` if the
        scheduler turns the client away.
        """
        self._address = _resolved(address)
        self._profiling = bool(profiling)
        self._timeout_seconds = _positive("timeout_seconds", timeout_seconds)
        self._heartbeat_interval_seconds = _positive("heartbeat_interval_seconds", heartbeat_interval_seconds)
        self._serializer = serializer
        self._stream_output = bool(stream_output)
        self._object_storage_address = object_storage_address
        storage = None if object_storage_address is None else _given(object_storage_address)
        self._shares_blocks = is_default(serializer)
        self._functions = Functions(serializer)
        # Here, because it brings ZeroMQ and the codec: a program that imports this class need not wait for them.
        from scaler_client.agent import Agent

        self._agent = Agent(
            self._address,
            serializer,
            min(self._timeout_seconds, _LONGEST_SECONDS),
            min(self._heartbeat_interval_seconds, _LONGEST_BEAT_SECONDS),
            object_storage_address=storage,
            stream_output=self._stream_output,
            is_inside=address is None,
        )
        self._linker = Linker(serializer, self._agent.objects, self._agent.check_future)
        weakref.finalize(self, Agent.drop, self._agent).atexit = False  # the agents have their own end of the program
        self._agent.start()

    @property
    def identity(self) -> bytes:
        """`Client|` and 32 hex digits."""
        return self._agent.identity

    # ---- tasks

    def submit(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> ScalerFuture:
        """Submit one call and return its future.

        A function receives the object for an `ObjectReference` that is an argument itself, not within another. Raises
        `MissingObjects` for one that this client does not hold, and otherwise as `submit_verbose`.
        """
        return self._submit(fn, args, kwargs, _ANYWHERE)

    def submit_verbose(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None = None,
        capabilities: Capabilities | None = None,
    ) -> ScalerFuture:
        """Submit one call to a worker that offers the capabilities: name to quantity, -1 for no quantity.

        Raises `TypeError` for arguments that do not fit, `ValueError` for a bad quantity or too large a function,
        `ObjectStorageException` if the object storage cannot take large arguments, `ClientQuitException` after a stop.
        """
        return self._submit(fn, tuple(args), kwargs or {}, _checked(capabilities))

    def map(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], capabilities: Capabilities | None = None
    ) -> list[Any]:
        """Call `fn` with the items of the iterables side by side, up to the shortest; return the results in order.

        Blocks. The exception of the first item that fails is raised, what is left then is dropped. Iterators are
        consumed as the work goes on. One list or tuple whose items are all tuples or lists is taken as by `starmap`,
        with a `DeprecationWarning`.
        """
        if not iterables:
            raise TypeError("map() needs at least one iterable")
        items, *others = iterables
        if others:
            return self._map(fn, zip(*iterables, strict=False), None, len(iterables), capabilities)
        if _is_table(items):
            warnings.warn(
                "map() with one sequence of tuples unpacks them: use starmap()", DeprecationWarning, stacklevel=2
            )
            return self.starmap(fn, items, capabilities)
        return self._map(fn, items, items, 1, capabilities)

    def starmap(
        self, fn: Callable[..., Any], iterable: Iterable[Iterable[Any]], capabilities: Capabilities | None = None
    ) -> list[Any]:
        """Call `fn` with each item as its arguments; return the results in order. Otherwise as `map`."""
        return self._map(fn, iterable, None, None, capabilities)

    def get(
        self,
        graph: Mapping[str, Any],
        keys: Iterable[str],
        block: bool = True,
        capabilities: Capabilities | None = None,
    ) -> dict[str, Any]:
        """Run the calls of a graph that `keys` need; return their values in order, or with `block=False` their futures.

        A graph is a dict of string to value. A tuple that starts with a callable is a call, its other items are keys of
        the graph; everything else is data. A call starts when its arguments are there; results go from worker to
        worker. The first failure is raised, and is that of every call that has not ended; cancelling one future cancels
        all.

        Raises `KeyError` for a key or an argument that is missing, or a key that is there twice, `TypeError` for an
        argument that is no string or does not fit, `graphlib.CycleError`, and otherwise as `submit_verbose`.
        """
        self._agent.door.check_open()
        wanted = checked_keys(keys)
        options = GraphOptions(context.priority(), self._profiling, _checked(capabilities))
        call = GraphCall(self._agent, options)
        futures = call.submit(cull_graph(graph, wanted), wanted, self._linker, self._functions.of)
        if not block:
            return futures
        try:
            return {key: future.result() for key, future in futures.items()}
        except BaseException:
            call.abandon()
            raise

    def send_object(self, obj: Any, name: bytes | str | None = None) -> ObjectReference:
        """Store one object that many tasks need, and return what stands for it as their argument.

        The object stays until the reference is dropped, cleared, or this client disconnects. `name` is for people.
        Raises what pickling raises, `ObjectStorageException`, and `ClientQuitException` after a stop.
        """
        self._agent.door.check_open()
        given = name.encode() if isinstance(name, str) else name
        return self._agent.objects.send(whole_parts(obj, self._serializer), given or b"")

    def clear(self) -> None:
        """Cancel this client's tasks and wait for their end; delete all objects that were sent.

        References to them raise `MissingObjects` from then on. The client stays usable.
        """
        self._agent.clear()

    # ---- the end

    def disconnect(self) -> None:
        """Cancel unfinished futures, delete this client's objects and leave the scheduler, which goes on.

        Results that were fetched stay valid, arrays too. Large ones that were not raise `ClientQuitException`. May be
        repeated.
        """
        self._agent.disconnect()

    def shutdown(self) -> None:
        """Stop the scheduler and its workers; `ValueError` from a protected one, after which this client is stopped."""
        self._agent.shut_down()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (
            str(self._address),
            self._profiling,
            self._timeout_seconds,
            self._heartbeat_interval_seconds,
            self._serializer,
            self._stream_output,
            self._object_storage_address,
        )
        return type(self), arguments

    def __repr__(self) -> str:
        state = "stopped" if self._agent.door.closed_reason else "connected to"
        return f"<{type(self).__name__} {self.identity.decode()} {state} {self._address}>"

    # ---- within

    def _submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], capabilities: Capabilities
    ) -> ScalerFuture:
        door = self._agent.door
        door.check_open()
        function = self._functions.of(fn)
        if kwargs:
            kwargs = function.accepted(kwargs, _OUR_CALLER)
        if kwargs or not function.fewest <= len(args) <= function.most:
            function.check(args, kwargs)
        encoding = Encoding.CALL if kwargs or not self._shares_blocks else shared_encoding(args)
        size = 0
        if encoding is Encoding.VALUES:
            item = args[0]
        elif encoding is Encoding.TUPLES:
            item = args
        else:
            item = self._linker.dump(args, kwargs)
            if isinstance(item, bytes):
                size = len(item)
                check_size(size, f"the arguments of {function.name}")
            else:
                encoding, size = Encoding.LINKED, item.size
        return door.add_call(
            function,
            encoding,
            item,
            size=size,
            priority=context.priority(),
            timed=self._profiling,
            capabilities=capabilities,
        )

    def _map(
        self,
        fn: Callable[..., Any],
        items: Iterable[Any],
        values: Iterable[Any] | None,
        arguments: int | None,
        capabilities: Capabilities | None,
    ) -> list[Any]:
        self._agent.door.check_open()
        function = self._functions.of(fn)
        wanted = _checked(capabilities)
        batches = self._batches(function, items, wanted, arguments, is_plain=values is not None)
        return MapCall(self._agent, reads_ahead=not hasattr(items, "__len__")).run(batches)

    def _batches(
        self,
        function: Function,
        items: Iterable[Any],
        capabilities: Capabilities,
        arguments: int | None,
        *,
        is_plain: bool,
    ) -> Generator[tuple[Terms, Packed], None, None]:
        terms: dict[Encoding, Terms] = {}
        priority = context.priority()
        for chunk in chunks(items):
            if is_plain:
                function.check_count(1)
                packed_chunk = pack_values(chunk, self._linker)
            else:
                calls: list[tuple[Any, ...]] = [tuple(item) for item in chunk]
                for count in {arguments} if arguments is not None else set(map(len, calls)):
                    function.check_count(count)
                packed_chunk = pack_calls(calls, self._linker)
            for packed in packed_chunk:
                encoding = packed.encoding
                if encoding not in terms:
                    terms[encoding] = Terms(function, encoding, priority, timed=False, capabilities=capabilities)
                yield terms[encoding], packed


def _resolved(address: object) -> Address:
    if address is None:
        task = context.get()
        if task is None:
            raise ValueError("No scheduler address provided and not running inside a worker context")
        address = task.scheduler_address
    return _given(address)


def _given(address: object) -> Address:
    return Address.from_string(str(address)).connectable()


def _positive(name: str, value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
        return value
    raise ValueError(f"{name} must be a number of seconds greater than 0, not {value!r}")


def _checked(capabilities: Capabilities | None) -> Capabilities:
    if not capabilities:
        return _ANYWHERE
    checked: Capabilities = {}
    for name, quantity in capabilities.items():
        if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"a capability is named by a text, not {name!r}")
        name.encode()  # UnicodeEncodeError is a ValueError
        if not _is_quantity(quantity):
            raise ValueError(f"the quantity of capability {name!r} must be -1 or at least 0, not {quantity!r}")
        checked[str(name)] = int(quantity)  # of subclasses, as of IntEnum, only what travels
    return checked


def _is_quantity(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -1 <= value < _MOST


def _is_table(items: Iterable[Any]) -> bool:
    return isinstance(items, _ROWS) and bool(items) and all(isinstance(item, _ROWS) for item in items)
