"""A scheduler for tests of workers and their hosts: real sockets and sessions; the test gives out the slices."""

import asyncio
import itertools

import zmq

from scaler_client.serializer import DefaultSerializer, dump_function, dump_values
from scaler_protocol import messages as m
from scaler_protocol.addresses import Address
from scaler_protocol.batch import F64, U8, U32, Encoding, Status, column, numbers
from scaler_protocol.identifiers import content_id, new_id
from scaler_runtime.core import PeerJoined, PeerLeft, Received, Send
from scaler_runtime.server import Server
from scaler_runtime.sessions import Patience, Sessions
from scaler_runtime.transport import RouterSocket

SECONDS = 30.0


class WorkerScheduler:
    """Its core: remembers what workers and hosts say. Use as an asynchronous context manager."""

    def __init__(self, path):
        self.address = Address.from_string(f"ipc://{path}")
        self.roles = {}
        self.hellos = {}  # worker id -> its last hello
        self.peers = {}  # worker id -> its process's session
        self.host = None
        self.reports = []
        self.ended = []
        self.results = []  # (slice id, first task, count, status, payload)
        self.returned = []
        self.left = []
        self.drains = True
        self._slices = itertools.count(1)
        self._outbox = []
        self._changed = asyncio.Event()

    async def __aenter__(self):
        self.context = zmq.Context()
        patience = {role: Patience(60.0, 60.0) for role in ("client", "worker", "host", "adapter")}
        sessions = Sessions(new_id(), patience, max_unfinished_tasks=1, max_unfinished_bytes=1)
        self.server = Server(RouterSocket(self.context, self.address), self, sessions)
        self._task = asyncio.create_task(self.server.run())
        return self

    async def __aexit__(self, *details):
        self.server.stop()
        await self._task
        self.context.destroy(linger=0)

    # ---- what the test does

    def run(self, worker_id, fn, *arguments, priority=0):
        """Give a worker a slice with one block; returns its id."""
        payload = dump_function(fn, DefaultSerializer())
        slice_id, block = next(self._slices), dump_values(list(arguments))
        self.send(self.peers[worker_id], m.DefineFunction(content_id(payload), fn.__name__, payload))
        self.send(
            self.peers[worker_id],
            m.AssignSlice(
                slice_id=slice_id,
                client_id=b"client",
                batch_id=1,
                function_id=content_id(payload),
                start=0,
                stop=len(arguments),
                first=0,
                priority=priority,
                encoding=Encoding.VALUES,
                timed=False,
                block_counts=column(U32, [len(arguments)]),
                block_sizes=column(U32, [len(block)]),
                payload=block,
            ),
        )
        return slice_id

    def send(self, peer, message):
        self._outbox.append(Send(peer, message))
        self.server._turn()

    async def until(self, reached, seconds=SECONDS):
        """Wait until `reached()` is true, after something that came in; returns what it returned."""
        async with asyncio.timeout(seconds):
            while not (result := reached()):
                self._changed.clear()
                await self._changed.wait()
        return result

    async def outcomes(self, slice_id, count):
        """Wait for the outcomes of so many tasks of a slice: (status, payload of the run) for each."""
        await self.until(lambda: sum(run[2] for run in self.results if run[0] == slice_id) >= count)
        found = [run for run in self.results if run[0] == slice_id]
        tasks = [task for _, start, number, _, _ in found for task in range(start, start + number)]
        assert tasks == list(range(count)), "each task once, in order"
        return [(status, payload) for _, _, number, status, payload in found for _ in range(number)]

    def state(self, worker_id):
        """Return what the host reported last about a worker, None if it is not in the list."""
        if not self.reports:
            return None
        return next((entry.state for entry in self.reports[-1].workers if entry.worker_id == worker_id), None)

    # ---- the core

    def handle(self, event, now):
        effects = []
        if isinstance(event, PeerJoined):
            self.roles[event.peer] = event.register.role
            if event.register.role == "host":
                self.host = event.peer
        elif isinstance(event, PeerLeft):
            self.left.append((self.roles[event.peer], event.reason))
        elif isinstance(event, Received):
            effects += self._receive(event.peer, event.message)
        self._changed.set()
        effects += self._outbox
        self._outbox = []
        return effects

    def next_wakeup(self):
        return None

    def _receive(self, peer, message):
        if isinstance(message, m.WorkerHello):
            self.hellos[message.worker_id] = message
            self.peers[message.worker_id] = peer
        elif isinstance(message, m.TaskResults):
            self._read(message)
        elif isinstance(message, m.SlicesReturned):
            self.returned.append(message)
        elif isinstance(message, m.ProcessEnded):
            self.ended.append(message)
        elif isinstance(message, m.HostReport):
            self.reports.append(message)
            draining = [worker.worker_id for worker in message.workers if worker.state == "draining"]
            if draining and self.drains:
                return [Send(peer, m.WorkersDrained(draining))]
        return []

    def _read(self, results):
        offset = 0
        columns = (
            numbers(U32, results.starts),
            numbers(U32, results.counts),
            numbers(U8, results.statuses),
            numbers(U32, results.sizes),
            numbers(F64, results.durations),
        )
        for start, count, status, size, seconds in zip(*columns, strict=True):
            assert seconds >= 0
            payload = results.payload[offset : offset + size]
            self.results.append((results.slice_id, start, count, Status(status), payload))
            offset += size
