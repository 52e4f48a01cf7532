"""One graph on its way: calls become batches that wait for each other, outcomes go to the futures of the wanted keys.

All other results stay between scheduler and workers. The first failure is that of the whole graph, and cancelling one
future cancels it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from scaler_client.batches import Batch, GraphTerms
from scaler_client.calls import Terms
from scaler_client.completion import cancel, complete, fail, fail_in_child
from scaler_client.functions import Function
from scaler_client.future import NO_PROFILE, ProfileResult, ScalerFuture, Ticket
from scaler_client.graph import in_stages, is_call
from scaler_client.linking import LINKED_TYPES, Linker
from scaler_client.outcomes import Failure
from scaler_client.packing import Packed, pack_calls
from scaler_client.serializer import ATOMS
from scaler_client.sources import Source
from scaler_protocol.messages import Capabilities

if TYPE_CHECKING:
    from scaler_client.agent import Agent

_SHORT = 1024
"""Longer texts, and whatever is no atom, are pickled once for all calls that have them as an argument."""

FunctionOf = Callable[[Callable[..., Any]], Function]


@dataclass(frozen=True, slots=True)
class GraphOptions:
    """What holds for every call of a graph."""

    priority: int
    timed: bool
    capabilities: Capabilities


class GraphCall:
    """See the module. Owner of the graph's futures."""

    def __init__(self, agent: "Agent", options: GraphOptions) -> None:
        self.client_id = agent.client_id
        self._agent = agent
        self._options = options
        self._batch_ids = range(0)
        self._terms = GraphTerms(0, 0)
        self._is_ending = False

    def submit(
        self, graph: Mapping[str, Any], keys: list[str], linker: Linker, function_of: FunctionOf
    ) -> dict[str, ScalerFuture]:
        """Submit a graph that has nothing but what is needed; return the futures of `keys`, in their order.

        Raises `CycleError`, `TypeError` for arguments that do not fit, and what pickling and storing them raises.
        """
        calls = _Calls(graph, function_of)
        parts = list(calls.pack(linker))
        data = [key for key in keys if not is_call(graph[key])]
        futures = dict[str, ScalerFuture]()

        def make(first_id: int) -> list[Batch]:
            """Return the batches; the first id is that of the graph, whose data has futures too."""
            self._terms = GraphTerms(first_id, calls.ready)
            self._batch_ids = range(first_id + 1, first_id + 1 + len(parts))
            ticket = Ticket(self, first_id)
            futures.update((key, ScalerFuture(ticket, index)) for index, key in enumerate(data))
            return [self._batch(*pair, set(keys), futures) for pair in zip(self._batch_ids, parts, strict=True)]

        self._agent.submit_graph(1 + len(parts), make)
        complete([futures[key] for key in data], [graph[key] for key in data], NO_PROFILE)
        return {key: futures[key] for key in keys}

    def _batch(self, batch_id: int, part: "_Part", wanted: set[str], futures: dict[str, ScalerFuture]) -> Batch:
        options, ticket = self._options, Ticket(self, batch_id)
        terms = Terms(part.function, part.packed.encoding, options.priority, options.timed, options.capabilities)
        mine = {index: ScalerFuture(ticket, index) for index, key in enumerate(part.keys) if key in wanted}
        futures.update((part.keys[index], future) for index, future in mine.items())
        batch = self._agent.batch(batch_id, terms, part.packed, GraphPart(self, mine))
        batch.graph = self._terms
        batch.wanted = frozenset(mine)
        batch.sources = WeakValueDictionary(enumerate(part.sources))
        for index, source in enumerate(part.sources):
            source.batch_id, source.index = batch_id, index
        return batch

    def abandon(self) -> None:
        """Give up what is unfinished; its futures hear nothing more."""
        self._agent.abandon(list(self._batch_ids))

    # ---- for the futures

    def cancel(self, batch_id: int, index: int) -> None:
        """Ask for the end of all calls."""
        self._agent.cancel_batches(self._batch_ids)

    def run_callback(self, callback: Callable[[], object]) -> None:
        """Call a function of the user's, in a thread that may wait."""
        self._agent.run_callback(callback)

    # ---- in the IO thread

    def note_success(self) -> None:
        """The scheduler has accepted the graph: another one must not refuse what is left of it."""
        self._terms.ready = 0

    def note_failure(self, failure: Failure) -> None:
        """Fail all that is unfinished."""
        if not self._is_ending:
            self._is_ending = True
            self._agent.fail_batches(self._batch_ids, failure)

    def note_cancelled(self) -> None:
        """Cancel all that is unfinished."""
        if not self._is_ending:
            self._is_ending = True
            self._agent.cancel_batches(self._batch_ids)


class GraphPart:
    """The receiver of one batch; `futures` are those of its tasks that are wanted."""

    __slots__ = ("_call", "_futures")

    def __init__(self, call: GraphCall, futures: dict[int, ScalerFuture]) -> None:
        self._call = call
        self._futures = futures

    def succeeded(self, start: int, values: list[Any], profile: ProfileResult) -> None:
        self._call.note_success()
        if self._futures:
            taken = [(self._futures.pop(index, None), value) for index, value in enumerate(values, start)]
            pairs = [(future, value) for future, value in taken if future is not None]
            complete([future for future, _ in pairs], [value for _, value in pairs], profile)

    def failed(self, start: int, stop: int, failure: Failure, profile: ProfileResult) -> None:
        for future in self._take(start, stop):
            fail(future, failure(), profile)
        self._call.note_failure(failure)

    def cancelled(self, start: int, stop: int) -> None:
        for future in self._take(start, stop):
            cancel(future)
        self._call.note_cancelled()

    def end_in_child(self, error: BaseException) -> None:
        """End all in a forked process."""
        for future in self._futures.values():
            fail_in_child(future, error)

    def _take(self, start: int, stop: int) -> list[ScalerFuture]:
        taken = (self._futures.pop(index, None) for index in range(start, stop)) if self._futures else ()
        return [future for future in taken if future is not None]


@dataclass(slots=True, eq=False)
class _Part:
    """A batch to be: calls of one function, and what stands for their results where others wait for them."""

    function: Function
    packed: Packed
    keys: list[str]
    sources: list[Source]


class _Calls:
    """The calls of a graph, with their functions and needs."""

    def __init__(self, graph: Mapping[str, Any], function_of: FunctionOf) -> None:
        self._graph = graph
        self._calls: dict[str, tuple[Any, ...]] = {key: value for key, value in graph.items() if is_call(value)}
        self._functions = self._with_functions(function_of)
        self._needs = {key: [name for name in call[1:] if name in self._calls] for key, call in self._calls.items()}
        self.ready = sum(not needs for needs in self._needs.values())
        """How many calls wait for nothing."""

    def pack(self, linker: Linker) -> Iterator[_Part]:
        """Return batches, in an order in which each comes after those that it needs."""
        arguments: dict[str, Any] = {key: Source(0, 0) for key in self._calls}
        for key, value in self._graph.items():
            if key not in arguments:
                arguments[key] = value if type(value) in LINKED_TYPES or _is_short(value) else linker.share(value)
        kinds = {
            key: (self._functions[key].function_id, all(_is_short(arguments[name]) for name in call[1:]))
            for key, call in self._calls.items()
        }
        for stage in in_stages(self._needs, kinds):
            keys = iter(stage)
            calls = [tuple(arguments[name] for name in self._calls[key][1:]) for key in stage]
            for packed in pack_calls(calls, linker):
                mine = list(islice(keys, packed.count))
                yield _Part(self._functions[mine[0]], packed, mine, [arguments[key] for key in mine])

    def _with_functions(self, function_of: FunctionOf) -> dict[str, Function]:
        """Return the function of each call; each is pickled once. Raises `TypeError` for arguments that do not fit."""
        known: dict[int, Function] = {}
        found: dict[str, Function] = {}
        for key, (fn, *names) in self._calls.items():
            function = known.get(id(fn))
            if function is None:
                function = known[id(fn)] = function_of(fn)
            function.check_count(len(names))
            found[key] = function
        return found


def _is_short(value: object) -> bool:
    """Whether an argument goes into the pickle of its call, with which it may share blocks."""
    kind = type(value)
    return kind in ATOMS and not (isinstance(value, (str, bytes)) and len(value) > _SHORT)
