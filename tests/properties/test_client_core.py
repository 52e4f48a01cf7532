"""Whatever scheduler and connection do, each future gets exactly one outcome, the right one, and nothing is kept."""

import pickle
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scaler_client import defined
from scaler_client.batches import Batch
from scaler_client.calls import FutureReceiver
from scaler_client.core import ClientCore
from scaler_client.functions import Function
from scaler_client.future import ScalerFuture, Ticket
from scaler_client.packing import pack_shared
from scaler_client.serializer import DefaultSerializer, dump_call, dump_failure, dump_result, dump_values, load_call
from scaler_protocol import messages as m
from scaler_protocol.batch import F64, U8, U32, Encoding, Status, column, numbers
from scaler_protocol.codec import decode, encode
from scaler_runtime.session import Up
from tests.unit.client.shelf import Shelf

DEFAULT = DefaultSerializer()
FUNCTIONS = [Function(bytes([n]) * 16, f"f{n}", b"pickled %d" % n, None, 1, 1) for n in range(4)]
TIMEOUT = 10.0


class Owner:
    client_id = b"c" * 16

    def run_callback(self, callback):
        callback()


class Work:
    """A batch as its submitter sees it."""

    def __init__(self, batch_id, items, function):
        self.items = items
        self.function = function
        self.futures = [ScalerFuture(Ticket(Owner(), batch_id), index) for index in range(len(items))]
        self.calls = Counter()
        self.cancelled = set()
        self.abandoned = self.expired = False
        for index, future in enumerate(self.futures):
            if index % 2:  # the others are completed the quick way
                future.add_done_callback(lambda _, index=index: self.calls.update([index]))


class Scheduler:
    """Knows only what the messages told it, as the real one."""

    def __init__(self):
        self.functions = set()
        self.batches = {}  # batch id -> (function id, items, unfinished)
        self.cancelling = Counter()  # (batch id, index) -> how often it was asked for

    def hear(self, message):
        if isinstance(message, m.DefineFunction):
            assert message.function_id not in self.functions
            self.functions.add(message.function_id)
        elif isinstance(message, m.ForgetFunctions):
            self.functions -= set(message.function_ids)
        elif isinstance(message, m.SubmitBatch):
            assert message.batch_id not in self.batches
            assert message.function_id in self.functions
            edges = numbers(U32, message.finished)
            finished = {n for low, high in zip(edges[::2], edges[1::2], strict=True) for n in range(low, high)}
            unfinished = set(range(message.count)) - finished
            assert unfinished
            self.batches[message.batch_id] = (message.function_id, self._items(message), unfinished)
        elif isinstance(message, m.AbandonBatches):
            for batch_id in message.batch_ids:
                self.batches.pop(batch_id, None)
        elif isinstance(message, m.CancelTasks):
            for start, count in zip(numbers(U32, message.starts), numbers(U32, message.counts), strict=True):
                self.cancelling.update((message.batch_id, index) for index in range(start, start + count))
        else:
            raise TypeError(message)

    def unfinished_tasks(self):
        return sum(len(unfinished) for _, _, unfinished in self.batches.values())

    def _items(self, message):
        items = []
        position = 0
        for size in numbers(U32, message.block_sizes):
            block = message.payload[position : position + size]
            position += size
            if message.encoding == Encoding.CALL:
                items.append(load_call(block, DEFAULT)[0][0])
            else:
                items += pickle.loads(block)
        return items


def answer_of(function_id, item):
    return [function_id, item]


class ClientMachine(RuleBasedStateMachine):
    """A client core between its users and a scheduler."""

    @initialize(limit=st.sampled_from([0, 1, 5, 20]))
    def begin(self, limit):
        defined.MAX_IDLE = 1
        self.now = 0.0
        self.core = ClientCore(TIMEOUT, Shelf())
        self.works = {}
        self.said = []  # sent by the client, not heard yet
        self.scheduler = Scheduler()
        self.limit = limit
        self.limits = {limit}  # what was sent under a wider one stays sent
        self.core.on_up(self._up(fresh=True))

    def teardown(self):
        if not hasattr(self, "core"):
            return
        while self.scheduler.batches or self.said or self.core.messages:
            self.hear()
            for batch_id, (_, _, unfinished) in self.scheduler.batches.items():
                for index in unfinished & self.works[batch_id].cancelled:
                    assert self.scheduler.cancelling[batch_id, index]
            for batch_id in list(self.scheduler.batches):
                unfinished = self.scheduler.batches[batch_id][2]
                self._deliver(batch_id, sorted(unfinished), "each")
        assert self.core.is_idle
        self.core.check()
        for work in self.works.values():
            for index, future in enumerate(work.futures):
                assert future.done() or work.abandoned
                if future.done() and not future.cancelled() and not future.exception():
                    assert future.result() == answer_of(work.function.function_id, work.items[index])
                assert not future.cancelled() or index in work.cancelled
                assert work.calls[index] == (1 if index % 2 and future.done() else 0)

    # ---- the user

    @rule(count=st.integers(1, 6), atoms=st.booleans(), function=st.sampled_from(FUNCTIONS))
    def submit(self, count, atoms, function):
        batch_id = len(self.works) + 1
        items = [batch_id * 100 + n for n in range(count)]
        work = self.works[batch_id] = Work(batch_id, items, function)
        encoding = Encoding.VALUES if atoms else Encoding.CALL
        packed = pack_shared(encoding, items if atoms else [dump_call((item,), {}, DEFAULT) for item in items])
        receiver = FutureReceiver(list(work.futures))
        self.core.submit(Batch(batch_id, function, packed, DEFAULT, receiver), self.now)

    @rule(data=st.data())
    @precondition(lambda self: self.works)
    def cancel(self, data):
        batch_id = data.draw(st.sampled_from(sorted(self.works)))
        index = data.draw(st.integers(0, len(self.works[batch_id].items) - 1))
        self.works[batch_id].cancelled.add(index)
        self.core.cancel(batch_id, index)

    @rule(data=st.data())
    @precondition(lambda self: self.works)
    def abandon(self, data):
        batch_ids = data.draw(st.lists(st.sampled_from(sorted(self.works)), max_size=2))
        for batch_id in batch_ids:
            self.works[batch_id].abandoned = True
        self.core.abandon(batch_ids)

    @rule()
    def cancel_all(self):
        for batch_id in self.core.batch_ids():
            self.works[batch_id].cancelled.update(range(len(self.works[batch_id].items)))
        self.core.cancel_all()

    # ---- the scheduler

    @rule()
    def hear(self):
        self._send()
        for message in self.said:
            self.scheduler.hear(message)
        self.said.clear()

    @rule(data=st.data(), how=st.sampled_from(["values", "each", "failed", "cancelled"]))
    @precondition(lambda self: self.scheduler.batches)
    def deliver(self, data, how):
        batch_id = data.draw(st.sampled_from(sorted(self.scheduler.batches)))
        unfinished = sorted(self.scheduler.batches[batch_id][2])
        if how == "cancelled":
            unfinished = [index for index in unfinished if self.scheduler.cancelling[batch_id, index]]
        if unfinished:
            tasks = data.draw(st.lists(st.sampled_from(unfinished), min_size=1, unique=True))
            self._deliver(batch_id, tasks, how)

    @rule(data=st.data())
    @precondition(lambda self: self.works)
    def deliver_what_was_delivered_or_nobody_wants(self, data):
        """No scheduler should, but a client must not be hurt."""
        batch_id = data.draw(st.sampled_from(sorted(self.works)))
        work = self.works[batch_id]
        over = [index for index, future in enumerate(work.futures) if future.done()]
        if not over:
            return
        at = data.draw(st.sampled_from(over))
        stop = data.draw(st.integers(at + 1, len(work.items)))
        tasks = list(range(data.draw(st.integers(0, at)), stop))
        if batch_id in self.scheduler.batches:
            self._deliver(batch_id, tasks, "values")
        elif batch_id not in self.core.batch_ids():
            self._answer(batch_id, tasks, "values", work.function.function_id, work.items)

    @rule(limit=st.sampled_from([0, 1, 5, 20]))
    def come_back(self, limit):
        self.limit = limit
        self.limits.add(limit)
        self._send()
        self.core.on_up(self._up(fresh=False))

    @rule()
    def start_anew(self):
        self.said.clear()
        self.scheduler = Scheduler()
        self.core.on_up(self._up(fresh=True))

    # ---- time

    @rule(seconds=st.sampled_from([1.0, 4.0, TIMEOUT]), heard=st.booleans())
    def wait(self, seconds, heard):
        self._send()
        self.now += seconds
        heard_at = self.now if heard else 0.0
        due = self.core.next_expiry(heard_at)
        if due is not None and due <= self.now:
            self.core.expire(heard_at, self.now, TimeoutError)

    @invariant()
    def tables_fit(self):
        if hasattr(self, "core"):
            self.core.check()

    @invariant()
    def credit_is_kept(self):
        if hasattr(self, "core") and 0 not in self.limits and len(self.scheduler.batches) > 1 and not self.said:
            largest = max(len(work.items) for work in self.works.values())
            assert self.scheduler.unfinished_tasks() <= max(*self.limits, largest)

    def _up(self, *, fresh):
        registered = m.Registered(b"i" * 16, 0, not fresh, max_unfinished_tasks=self.limit)
        return Up(fresh, registered)

    def _send(self):
        for message in self.core.messages:
            (copied,) = decode(encode(m.Packet(1, 0, [message]))).messages
            self.said.append(copied)
            if isinstance(copied, m.SubmitBatch):
                edges = numbers(U32, copied.finished)
                finished = {n for low, high in zip(edges[::2], edges[1::2], strict=True) for n in range(low, high)}
                futures = self.works[copied.batch_id].futures
                assert self.works[copied.batch_id].abandoned or finished == {
                    index for index, future in enumerate(futures) if future.done()
                }
        self.core.messages.clear()

    def _deliver(self, batch_id, tasks, how):
        function_id, items, unfinished = self.scheduler.batches[batch_id]
        unfinished.difference_update(tasks)
        if not unfinished:
            del self.scheduler.batches[batch_id]
        self._answer(batch_id, tasks, how, function_id, items)

    def _answer(self, batch_id, tasks, how, function_id, items):
        runs = []
        position = 0
        while position < len(tasks):
            start = tasks[position]
            stop = start + 1
            while how != "each" and position + (stop - start) < len(tasks) and tasks[position + stop - start] == stop:
                stop += 1
            position += stop - start
            outcomes = [answer_of(function_id, item) for item in items[start:stop]]
            status, data = {
                "values": (Status.VALUES, dump_values(outcomes)),
                "each": (Status.VALUE, dump_result(outcomes[0], DEFAULT)),
                "failed": (Status.EXCEPTION, dump_failure(ValueError(start))),
                "cancelled": (Status.CANCELLED, b""),
            }[how]
            runs.append((start, stop - start, status, data))
        starts, counts, statuses, data = zip(*runs, strict=True)
        results = m.TaskResults(
            slice_id=0,
            client_id=b"",
            batch_id=batch_id,
            starts=column(U32, starts),
            counts=column(U32, counts),
            statuses=column(U8, statuses),
            sizes=column(U32, [len(part) for part in data]),
            durations=column(F64, [0.0] * len(runs)),
            payload=b"".join(data),
        )
        (results,) = decode(encode(m.Packet(1, 0, [results]))).messages
        self.core.on_results(results)


TestClientMachine = ClientMachine.TestCase
TestClientMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
