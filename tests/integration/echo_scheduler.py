"""A scheduler for tests of the client: real sockets and sessions, and it runs the tasks itself."""

import contextlib
import threading
import time
from pickle import dumps, loads

import zmq

from scaler_client.serializer import are_atoms, dump_failure, load_call, load_function
from scaler_protocol import codec
from scaler_protocol import messages as m
from scaler_protocol.addresses import Address
from scaler_protocol.batch import F64, U8, U32, Encoding, Status, column, numbers
from scaler_protocol.identifiers import new_id
from scaler_runtime.core import PeerJoined, PeerLeft, Received
from scaler_runtime.sessions import Patience, Sessions
from scaler_runtime.transport import RouterSocket, SendResult


class EchoScheduler:
    """Serves in a thread of its own. While `holding`, tasks are kept, not run."""

    def __init__(self, address, *, max_tasks=0, max_bytes=0, protected=False, roles=("client",)):
        self.context = zmq.Context()
        self.socket = RouterSocket(self.context, Address.from_string(address))
        self.address = str(self.socket.address)
        patience = {role: Patience(60, None) for role in roles}
        self.sessions = Sessions(new_id(), patience, max_unfinished_tasks=max_tasks, max_unfinished_bytes=max_bytes)
        self.protected = protected
        self.holding = False
        self.deaf = False  # hears nothing and says nothing
        self.functions = {}
        self.held = []
        self.batches = []
        self.joined = []
        self.left = []
        self.changed = threading.Condition()
        self.orders = []
        self.stopping = False
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self):
        self.stopping = True
        self.thread.join()

    def release(self):
        self.orders.append(self._release)

    def notify(self, cause, text):
        self.orders.append(lambda: [self._send(peer, m.Notice(cause, text)) for peer in self.joined])

    def wait_for(self, condition, timeout=10):
        with self.changed:
            assert self.changed.wait_for(condition, timeout)

    def _serve(self):
        poller = zmq.Poller()
        for descriptor in self.socket.filenos():
            poller.register(descriptor, zmq.POLLIN)
        while not self.stopping:
            poller.poll(5)
            if self.deaf:
                continue
            self._turn()
        self.socket.close(100)
        self.context.term()

    def _turn(self):
        again = True
        while again:
            self.socket.lost_connections()
            while (received := self.socket.receive(self.sessions.knows)) is not None:
                route, frames, _ = received
                for event in self.sessions.receive(route, codec.decode(frames), time.monotonic()):
                    self._on_event(event)
            while self.orders:
                self.orders.pop(0)()
            for route, packet in self.sessions.outgoing():
                result = self.socket.send(route, codec.encode(packet))
                if result is SendResult.FULL:
                    self.sessions.unsend(route, packet)
                elif result is SendResult.UNREACHABLE:
                    self.sessions.unsend(route, packet)
                    self.sessions.unreachable(route, time.monotonic())
            again = self.socket.has_input()
        with self.changed:
            self.changed.notify_all()

    def _on_event(self, event):
        if isinstance(event, PeerJoined):
            self.joined.append(event.peer)
        elif isinstance(event, PeerLeft):
            self.left.append(event.peer)
        elif isinstance(event, Received):
            self._on_message(event.peer, event.message)

    def _on_message(self, peer, message):
        if isinstance(message, m.DefineFunction):
            self.functions[message.function_id] = load_function(message.payload)
        elif isinstance(message, m.SubmitBatch):
            self.batches.append(message)
            if self.holding:
                self.held.append((peer, message))
            else:
                self._run(peer, message)
        elif isinstance(message, m.CancelTasks):
            for start, count in zip(numbers(U32, message.starts), numbers(U32, message.counts), strict=True):
                self._answer(peer, message.batch_id, [(start, count, Status.CANCELLED, b"", 0.0)])
            self.held = [held for held in self.held if held[1].batch_id != message.batch_id]
        elif isinstance(message, m.AbandonBatches):
            self.held = [held for held in self.held if held[1].batch_id not in message.batch_ids]
        elif isinstance(message, m.RequestShutdown):
            if self.protected:
                self._send(peer, m.ShutdownRefused("Scheduler is in protected mode. Can't shutdown"))
            else:
                for one in self.joined:
                    self._send(one, m.Shutdown("a client asked"))

    def _send(self, peer, message):
        self.sessions.send(peer, message)

    def _release(self):
        self.holding = False
        held, self.held = self.held, []
        for peer, batch in held:
            self._run(peer, batch)

    def _run(self, peer, batch):
        fn, serializer = self.functions[batch.function_id]
        payload = memoryview(batch.payload)
        runs = []
        first = position = 0
        edges = numbers(U32, batch.finished)
        finished = {index for low, high in zip(edges[::2], edges[1::2], strict=True) for index in range(low, high)}
        columns = numbers(U32, batch.block_counts), numbers(U32, batch.block_sizes)
        for count, size in zip(*columns, strict=True):
            block = payload[position : position + size]
            position += size
            if batch.encoding == Encoding.CALL:
                args, kwargs = load_call(block, serializer)
                calls = [lambda args=args, kwargs=kwargs: fn(*args, **kwargs)]
            elif batch.encoding == Encoding.VALUES and not finished:
                values = loads(block)
                try:
                    results = [fn(value) for value in values]
                except Exception:  # noqa: BLE001 - the user's function
                    calls = [lambda value=value: fn(value) for value in values]
                else:
                    calls = []
                    runs += self._results(first, results, serializer)
            else:
                items = [(x,) for x in loads(block)] if batch.encoding == Encoding.VALUES else loads(block)
                calls = [lambda item=item: fn(*item) for item in items]
            for index, call in enumerate(calls, first):
                if index in finished:
                    continue
                try:
                    runs += self._results(index, [call()], serializer)
                except Exception as error:  # noqa: BLE001 - the user's function
                    runs.append((index, 1, Status.EXCEPTION, dump_failure(error), 0.001))
            first += count
        self._answer(peer, batch.batch_id, runs)

    def _results(self, first, results, serializer):
        if are_atoms(results):
            return [(first, len(results), Status.VALUES, dumps(results, 5), 0.001)]
        return [(first + i, 1, Status.VALUE, serializer.serialize(r), 0.001) for i, r in enumerate(results)]

    def _answer(self, peer, batch_id, runs):
        starts, counts, statuses, data, seconds = zip(*runs, strict=True)
        results = m.TaskResults(
            slice_id=0,
            client_id=b"",
            batch_id=batch_id,
            starts=column(U32, starts),
            counts=column(U32, counts),
            statuses=column(U8, statuses),
            sizes=column(U32, [len(part) for part in data]),
            durations=column(F64, seconds),
            payload=b"".join(data),
        )
        self._send(peer, results)


@contextlib.contextmanager
def echo_scheduler(address, **options):
    scheduler = EchoScheduler(address, **options)
    try:
        yield scheduler
    finally:
        scheduler.close()
