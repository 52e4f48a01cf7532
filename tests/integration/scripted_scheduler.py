"""A scheduler for tests of adapters: real sockets and sessions, and commands from the test instead of a policy."""

import asyncio
import contextlib

import zmq

from scaler_protocol.addresses import Address
from scaler_protocol.identifiers import new_id
from scaler_protocol.messages import AdapterCommand, AdapterReport, GroupSpec, HostReport, WorkersDrained
from scaler_runtime.core import PeerJoined, PeerLeft, Received, Send
from scaler_runtime.server import Server
from scaler_runtime.sessions import Patience, Sessions
from scaler_runtime.transport import RouterSocket


class ScriptedScheduler:
    """Its core: remembers what adapters say. Use as an asynchronous context manager."""

    def __init__(self, path):
        self.context = zmq.Context()
        patience = {role: Patience(60.0, 60.0) for role in ("client", "worker", "host", "adapter")}
        sessions = Sessions(new_id(), patience, max_unfinished_tasks=1, max_unfinished_bytes=1)
        self.server = Server(RouterSocket(self.context, Address.from_string(f"ipc://{path}")), self, sessions)
        self.adapter = None
        self.reports = []
        self.messages = []
        self.left = []
        self.revision = 0
        self._outbox = []
        self._changed = asyncio.Event()

    @property
    def address(self):
        return self.server.address

    @property
    def states(self):
        return {group.group_id: group.state for group in self.reports[-1].groups} if self.reports else {}

    async def __aenter__(self):
        self._task = asyncio.create_task(self.server.run())
        return self

    async def __aexit__(self, *details):
        self.server.stop()
        await self._task
        self.context.destroy(linger=0)

    def command(self, wanted=(), stop=()):
        self.revision += 1
        self.send(AdapterCommand(self.revision, [GroupSpec(key, {}) for key in wanted], list(stop)))

    def send(self, message):
        self._outbox.append(message)
        self.server._turn()

    async def until(self, reached, seconds=30.0):
        """Wait until `reached()` is true after something that came in."""
        async with asyncio.timeout(seconds):
            while not reached():
                self._changed.clear()
                await self._changed.wait()

    def handle(self, event, now):
        if isinstance(event, PeerJoined) and event.register.role == "adapter":
            self.adapter = event.peer
        elif isinstance(event, PeerLeft):
            self.left.append(event.reason)
        elif isinstance(event, Received):
            self.messages.append(event.message)
            if isinstance(event.message, AdapterReport):
                self.reports.append(event.message)
        self._changed.set()
        effects = []
        if isinstance(event, Received) and isinstance(event.message, HostReport):
            draining = [worker.worker_id for worker in event.message.workers if worker.state == "draining"]
            if draining:  # nobody has given them tasks
                effects.append(Send(event.peer, WorkersDrained(draining)))
        if self.adapter is not None:
            effects += [Send(self.adapter, message) for message in self._outbox]
            self._outbox = []
        return effects

    def next_wakeup(self):
        return None


@contextlib.asynccontextmanager
async def running(coroutine):
    """Run something beside the test, and cancel it if the test fails."""
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
