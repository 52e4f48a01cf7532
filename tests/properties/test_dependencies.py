"""Client and scheduler together: calls that wait for results of others, in any order of messages, losses and restarts.

The workers compute. In the end every future has the one outcome that a local call would have given, the failure or the
cancelling of what it waited for, and nothing is kept: no result, no stored object.
"""

import gc
import signal
from collections import deque
from copy import copy
from itertools import pairwise

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from scaler_client.batches import Batch
from scaler_client.calls import FutureReceiver
from scaler_client.core import ClientCore
from scaler_client.exceptions import ObjectStorageException, SchedulerFullError
from scaler_client.functions import Function
from scaler_client.future import ScalerFuture, Ticket
from scaler_client.graph import cull_graph
from scaler_client.graph_call import GraphCall, GraphOptions
from scaler_client.linked import Awaited, Made, load_linked
from scaler_client.linking import LinkedCall, Linker
from scaler_client.packing import pack_shared
from scaler_client.serializer import (
    DefaultSerializer,
    dump_failure,
    dump_result,
    dump_values,
    load_call,
    load_values,
)
from scaler_client.sources import is_done
from scaler_client.stored import whole_parts
from scaler_protocol import messages as m
from scaler_protocol.batch import (
    F64,
    MADE_HERE,
    RESULTS,
    U8,
    U32,
    Encoding,
    Status,
    column,
    numbers,
    offsets,
    pack_stored,
)
from scaler_protocol.codec import decode, encode
from scaler_runtime.session import Up
from scaler_scheduler.core import recent
from tests.unit.client.shelf import Shelf
from tests.unit.scheduler.builders import Bench, inputs

DEFAULT = DefaultSerializer()
FUNCTIONS = [Function(bytes([n]) * 16, f"f{n}", b"pickled %d" % n, None, 0, 99) for n in range(3)]
TIMEOUT = 50.0
HOW = ("each", "together", "stored")
"""In which runs results come: one each, several in one, or stored."""


_REMEMBERED = recent.MAX_MESSAGES


class FailedError(Exception):
    """Of a task that was told to fail."""


class LostError(Exception):
    """A task of the same slice has no result; how it ended."""


def add(*values):
    """What every task does: numbers are added; one that is negative makes it fail."""
    if min(values, default=0) < 0:
        raise FailedError(min(values))
    return sum(values)


class Agent:
    """What a client's agent does for graphs, without threads: orders wait until somebody carries them out."""

    client_id = b"C" * 16

    def __init__(self, core, submit):
        self._core = core
        self._submit = submit
        self.orders = deque()

    def batch(self, batch_id, terms, packed, receiver):
        return Batch(batch_id, terms.function, packed, DEFAULT, receiver, capabilities=terms.capabilities)

    def submit_graph(self, count, make):
        self._submit(count, make)

    def cancel_batches(self, batch_ids):
        self.orders.append(lambda: self._core.cancel_batches(batch_ids))

    def fail_batches(self, batch_ids, failure):
        self.orders.append(lambda: self._core.fail(batch_ids, failure))

    def abandon(self, batch_ids):
        self.orders.append(lambda: self._core.abandon(batch_ids))

    def cancel(self, batch_id, index):
        self.orders.append(lambda: self._core.cancel(batch_id, index))

    def run_callback(self, callback):
        callback()


class Store(Shelf):
    """Keys are never used again, and what workers put is nobody's until the client takes it over."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def put(self, parts):
        return self.keep(self.put_for_client(parts), parts.size)

    def put_for_client(self, parts):
        self.count += 1
        key = b"key %d" % self.count
        self.objects[key] = parts.cut(0, parts.size)
        return key


class Wire:
    """The scheduler's view of the client: what it sends arrives later."""

    def __init__(self, peer):
        self.peer = peer
        self.arriving = deque()

    def on_message(self, message):
        self.arriving.append(copied(message))


class Machine(RuleBasedStateMachine):
    """`expected` has for each future its value, and the futures that it waited for."""

    @initialize(
        tasks=st.sampled_from([0, 3, 10]),
        limit=st.sampled_from([-1, -1, 2]),
        remembered=st.sampled_from([0, 2, 1000]),
        how=st.sampled_from(HOW),
    )
    def begin(self, tasks, limit, remembered, how):
        recent.MAX_MESSAGES = remembered
        self.how = how
        self.shelf = Store()
        self.core = ClientCore(TIMEOUT, self.shelf)
        self.linker = Linker(DEFAULT, self.shelf)
        self.agent = Agent(self.core, self.submit_graph)
        self.now = 0.0
        self.batch_ids = 0
        self.credit = tasks
        self.limit = limit
        self.leaving = deque()
        self.futures = []
        self.needs = {}  # future to the futures that it waits for
        self.values = {}  # future to what it is if all goes well; None if it fails by itself
        self.cancelled = set()
        self.graphs = []  # futures of each
        self.start_scheduler()

    # ---- the user

    @rule(
        data=st.data(),
        calls=st.integers(1, 6),
        function=st.sampled_from(FUNCTIONS),
        fails=st.integers(0, 9),
        chained=st.booleans(),
    )
    def submit(self, data, calls, function, fails, chained):
        """Calls that come one after the other and travel in one batch."""
        self.batch_ids += 1
        ticket = Ticket(self.agent, self.batch_ids)
        items, futures = [], []
        for index in range(calls):
            known = self.futures[-12:] + futures
            sources = data.draw(st.lists(st.sampled_from(known), max_size=3)) if known else []
            if chained and futures:
                sources = [*sources[:1], futures[-1]]
            number = -1 if fails == index else index
            items.append(self.linker.dump((number, *sources), {}))
            futures.append(self.expect(ScalerFuture(ticket, index), [number], sources))
        if any(isinstance(item, LinkedCall) for item in items):
            calls = [item if isinstance(item, LinkedCall) else self.as_linked(item) for item in items]
            packed = pack_shared(Encoding.LINKED, calls)
        else:
            packed = pack_shared(Encoding.CALL, items)
        batch = Batch(self.batch_ids, function, packed, DEFAULT, FutureReceiver(list(futures)))
        self.core.submit(batch, self.now)
        self.futures += futures

    def submit_graph(self, count, make):
        first, self.batch_ids = self.batch_ids + 1, self.batch_ids + count
        for batch in make(first):
            self.core.submit(batch, self.now)

    @rule(data=st.data(), count=st.integers(1, 10), fails=st.integers(0, 9))
    def get(self, data, count, fails):
        """A graph, of which some keys are wanted."""
        graph = {"n0": -1 if fails == 0 else 1, "n1": (FUNCTIONS[0],)}
        for number in range(2, count + 2):
            names = data.draw(st.lists(st.sampled_from(sorted(graph)), max_size=3))
            graph[f"n{number}"] = (data.draw(st.sampled_from(FUNCTIONS)), *names)
        graph = {key: _Callable.wrapped(value) for key, value in graph.items()}
        keys = data.draw(st.lists(st.sampled_from(sorted(graph)), min_size=1, unique=True))
        call = GraphCall(self.agent, GraphOptions(0, False, {}))
        futures = call.submit(cull_graph(graph, keys), keys, self.linker, lambda fn: fn.function)
        assert list(futures) == keys
        for key, future in futures.items():
            self.expect(future, [graph[key]] if not isinstance(graph[key], tuple) else [], [])
            self.values[future] = self.local(graph, key)
        calls = [future for key, future in futures.items() if isinstance(graph[key], tuple)]
        self.graphs.append(calls)
        self.futures += futures.values()

    @precondition(lambda self: self.futures)
    @rule(data=st.data())
    def cancel(self, data):
        future = data.draw(st.sampled_from(self.futures))
        if not future.done():
            self.cancelled.add(future)
            self.cancelled.update(*(calls for calls in self.graphs if future in calls))
            future._ticket.owner.cancel(future._ticket.batch_id, future._index)

    @rule()
    def clear(self):
        self.cancelled.update(future for future in self.futures if not future.done())
        self.core.cancel_all()

    @precondition(lambda self: self.agent.orders)
    @rule()
    def carry_out(self):
        self.agent.orders.popleft()()

    # ---- the ways

    @rule(count=st.integers(1, 10))
    def to_the_scheduler(self, count):
        self.collect()
        for _ in range(min(count, len(self.leaving))):
            self.bench.say(self.wire.peer, self.leaving.popleft())

    @rule(count=st.integers(1, 10))
    def to_the_client(self, count):
        for _ in range(min(count, len(self.wire.arriving))):
            message = self.wire.arriving.popleft()
            if isinstance(message, m.TaskResults):
                self.core.on_results(message)
                self.core.check()

    @rule(tasks=st.sampled_from([0, 3, 10]))
    def restart(self, tasks):
        """All that was stored stays; results that were on their way are nobody's."""
        self.credit = tasks
        self.start_scheduler()

    def start_scheduler(self):
        if hasattr(self, "bench"):
            self.forget_undelivered()
        self.bench = Bench(max_number_of_tasks_waiting=self.limit, task_retry_limit=1000)
        for function in FUNCTIONS:
            self.bench.state.durations.add(function.function_id, 0.01, 1)
        self.wire = self.bench._join(Wire(self.agent.client_id), "client")
        self.workers = self.bench.workers(2)
        self.made = {}  # by slice, how its tasks have ended
        self.leaving.clear()
        registered = m.Registered(b"i" * 16, 0, False, max_unfinished_tasks=self.credit)
        self.core.on_up(Up(True, registered))

    def forget_undelivered(self):
        """Do what the object storage does for those whose worker or scheduler is gone."""
        self.shelf.delete(self.bench.deleted)
        for message in self.wire.arriving:
            if isinstance(message, m.TaskResults):
                for status, run in zip(message.statuses, runs(message), strict=True):
                    if status == Status.STORED:
                        self.shelf.delete([bytes(run[8:])])

    def collect(self):
        self.leaving += map(copied, self.core.messages)
        self.core.messages.clear()

    # ---- the workers

    @precondition(lambda self: any(worker.slices for worker in self.workers))
    @rule(data=st.data(), tasks=st.integers(1, 4), how=st.sampled_from(HOW))
    def work(self, data, tasks, how):
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.slices]))
        self.run(worker, tasks, how)

    @precondition(lambda self: any(worker.recalls for worker in self.workers))
    @rule(begun=st.booleans())
    def give_back(self, begun):
        next(worker for worker in self.workers if worker.recalls).give_back(begun=begun)

    @rule(data=st.data(), code=st.sampled_from([signal.SIGKILL, signal.SIGTERM]))
    def end_process(self, data, code):
        data.draw(st.sampled_from(self.workers)).end("signal", code)

    def run(self, worker, tasks, how):
        """Run the next tasks of a worker's first slice, as a real one does."""
        slice_id, (assigned, start, stop) = next(iter(worker.slices.items()))
        stop = min(stop, start + tasks)
        outcomes = []
        for task in range(start, stop):
            outcomes.append(self.outcome(assigned, task))
            self.made.setdefault(slice_id, {})[task] = outcomes[-1]
        entries = []
        for task, (status, value) in enumerate(outcomes, start):
            if status != Status.VALUE:
                entries.append((task, 1, status, value))
            elif how == "together":
                if entries and entries[-1][2] == Status.VALUES and entries[-1][0] + entries[-1][1] == task:
                    first, count, _, values = entries.pop()
                    entries.append((first, count + 1, Status.VALUES, [*values, value]))
                else:
                    entries.append((task, 1, Status.VALUES, [value]))
            elif how == "stored":
                parts = whole_parts(value, DEFAULT)
                entries.append((task, 1, Status.STORED, pack_stored(parts.size, self.shelf.put_for_client(parts))))
            else:
                entries.append((task, 1, Status.VALUE, dump_result(value, DEFAULT)))
        payloads = [dump_values(data) if status == Status.VALUES else data for _, _, status, data in entries]
        worker._advance(slice_id, stop)
        worker.say(
            m.TaskResults(
                slice_id=slice_id,
                client_id=assigned.client_id,
                batch_id=assigned.batch_id,
                starts=column(U32, [entry[0] for entry in entries]),
                counts=column(U32, [entry[1] for entry in entries]),
                statuses=column(U8, [entry[2] for entry in entries]),
                sizes=column(U32, list(map(len, payloads))),
                durations=column(F64, [0.01] * len(entries)),
                payload=b"".join(payloads),
            )
        )

    def outcome(self, assigned, task):
        """Run one task. What it needs is gone where nobody wants its outcome any more."""
        try:
            return Status.VALUE, add(*self.arguments(assigned, task))
        except LostError as error:
            return error.args
        except (FailedError, ObjectStorageException) as error:
            return Status.EXCEPTION, dump_failure(error)

    def arguments(self, assigned, task):
        if assigned.encoding in {Encoding.VALUES, Encoding.TUPLES}:
            return self.of_block(assigned, task)
        ends, at = offsets(numbers(U32, assigned.block_sizes)), task - assigned.first
        block = assigned.payload[ends[at] : ends[at + 1]]
        if assigned.encoding == Encoding.CALL:
            return load_call(block, DEFAULT)[0]
        results = inputs(assigned)
        awaited = [self.awaited(assigned, result) for result in results[at]] if results else []
        return load_linked(block, DEFAULT, self.shelf, awaited)[0]

    def awaited(self, assigned, result):
        if result[0] != MADE_HERE:
            return Awaited(*result)
        status, value = self.made[assigned.slice_id][result[1]]
        if status not in RESULTS:
            raise LostError(status, value)
        return Made(value)

    def of_block(self, assigned, task):
        first, position = assigned.first, 0
        for count, size in zip(numbers(U32, assigned.block_counts), numbers(U32, assigned.block_sizes), strict=True):
            if task < first + count:
                item = load_values(assigned.payload[position : position + size])[task - first]
                return item if assigned.encoding == Encoding.TUPLES else (item,)
            first, position = first + count, position + size
        raise AssertionError("a task outside its blocks")

    # ---- what is expected

    def expect(self, future, numbers_given, sources):
        self.needs[future] = sources
        values = [self.values[source] for source in sources]
        ends_well = None not in values and min([*numbers_given, *values], default=0) >= 0
        self.values[future] = sum(numbers_given) + sum(values) if ends_well else None
        return future

    def local(self, graph, key):
        """Return what a key of a graph is, None if a call on the way to it fails."""
        value = graph[key]
        if not isinstance(value, tuple):
            return value
        arguments = [self.local(graph, name) for name in value[1:]]
        return None if None in arguments or min(arguments, default=0) < 0 else sum(arguments)

    def as_linked(self, block):
        args, kwargs = load_call(block, DEFAULT)
        return self.linker.dump((self.linker.share(args[0]), *args[1:]), kwargs)

    # ---- the end

    def teardown(self):
        if not hasattr(self, "core"):
            return
        recent.MAX_MESSAGES = _REMEMBERED
        for _ in range(2000):
            if self.core.is_idle and not self.agent.orders:
                break
            while self.agent.orders:
                self.carry_out()
            self.to_the_scheduler(1000)
            for host_end in self.bench.peers[b"H"].end_tasks:
                self.obey(host_end)
            self.bench.peers[b"H"].end_tasks.clear()
            for worker in self.workers:
                while worker.recalls:
                    worker.give_back()
                if worker.slices:
                    self.run(worker, 1000, self.how)
            self.bench.advance(0.1)
            self.to_the_client(1000)
        self.to_the_client(1000)
        assert self.core.is_idle, self.core.batch_ids()
        self.core.check()
        self.to_the_scheduler(1000)
        assert self.bench.state.unfinished_tasks == 0
        for future in self.futures:
            self.check_future(future)
        self.let_go()

    def obey(self, end):
        for worker in self.workers:
            slice_id, task = worker.running()
            is_meant = (worker.worker_id, worker.incarnation, slice_id) == (
                end.worker_id,
                end.incarnation,
                end.slice_id,
            )
            if is_meant and end.task in {task, m.ANY_TASK}:
                worker.end("cancelled", signal.SIGTERM)

    def check_future(self, future):
        """It has run with all that it needed, or ended as something that it needed, or as its graph."""
        assert is_done(future)
        graph = next((calls for calls in self.graphs if future in calls), [])
        sources = self.needs[future]
        if future.cancelled():
            assert self.may_be_cancelled(future)
        elif (error := future.exception()) is None:
            assert future.result() == self.values[future]
            assert not any(source.cancelled() or source.exception() for source in sources)
        elif isinstance(error, FailedError):
            lost = (source for source in sources if not source.cancelled() and source.exception() is not None)
            assert self.values[future] is None or graph or any(lost)
        else:
            assert isinstance(error, SchedulerFullError)
            assert self.limit >= 0

    def may_be_cancelled(self, future):
        return future in self.cancelled or any(map(self.may_be_cancelled, self.needs[future]))

    def let_go(self):
        """Nothing is kept once nobody holds a future."""
        self.forget_undelivered()
        for name in ("futures", "needs", "values", "cancelled", "graphs"):
            getattr(self, name).clear()
        gc.collect()
        assert not self.shelf.objects


class _Callable:
    """Stands for a function in a graph."""

    def __init__(self, function):
        self.function = function

    def __call__(self):
        raise AssertionError("a graph's function is not called here")

    @classmethod
    def wrapped(cls, value):
        return (cls(value[0]), *value[1:]) if isinstance(value, tuple) else value


def copied(message):
    (same,) = decode(encode(m.Packet(1, 0, [copy(message)]))).messages
    return same


def runs(message):
    ends = offsets(numbers(U32, message.sizes))
    return [message.payload[low:high] for low, high in pairwise(ends)]


Machine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestDependencies = Machine.TestCase
