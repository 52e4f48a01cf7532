"""A server behind a socket that is scripted: what it makes of word that a connection has ended."""

import asyncio
import contextlib
import os

import pytest

from scaler_protocol import codec
from scaler_protocol import messages as m
from scaler_runtime import server as server_module
from scaler_runtime.core import PeerDetached, PeerJoined, PeerLeft
from scaler_runtime.server import Server
from scaler_runtime.session import Identity, Session
from scaler_runtime.sessions import Patience, Sessions
from scaler_runtime.transport import SendResult

DESCRIPTOR = 77
LIMIT_SECONDS = 20.0


class ScriptedSocket:
    """Gives what lies in `input` and `lost`; the end of a route shows only after it was asked for so many times.

    Of `last_words` it knows no sooner than of the end.
    """

    address = None
    watch_at = None

    def __init__(self):
        self.input = []
        self.lost = []
        self.late = {}
        self.last_words = {}
        self.probed = []
        self._descriptors = (os.eventfd(1, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK))

    def filenos(self):
        return self._descriptors

    def wake(self):
        os.eventfd_write(self._descriptors[0], 1)

    def lost_connections(self):
        lost, self.lost = self.lost, []
        return lost

    def receive(self, known):
        if self.input:
            return self.input.pop(0)
        for descriptor in self._descriptors:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(descriptor)
        return None

    def send(self, route, frames):
        if route in self.last_words:
            self.input.append((route, self.last_words.pop(route), -1))
            return SendResult.UNREACHABLE
        if codec.decode(frames).messages or route not in self.late:
            return SendResult.SENT
        self.probed.append(route)
        return self.late[route].pop(0) if self.late[route] else SendResult.UNREACHABLE

    def watch(self, now):
        return iter(())

    def has_input(self):
        return bool(self.input)

    def close(self, linger_ms=0):
        for descriptor in self._descriptors:
            os.close(descriptor)


class Notes:
    """A core that writes down what comes."""

    def __init__(self):
        self.events = asyncio.Queue()

    def handle(self, event, now):
        if isinstance(event, PeerJoined | PeerDetached | PeerLeft):
            self.events.put_nowait(type(event))
        return []

    def next_wakeup(self):
        return None


def registration():
    session = Session(Identity("host", "test"))
    session.on_connected()
    (packet,) = session.packets()
    assert isinstance(packet.messages[0], m.Register)
    return codec.encode(packet)


async def serve(script):
    socket, notes = ScriptedSocket(), Notes()
    limits = {"host": Patience(3600.0, 3600.0)}
    server = Server(socket, notes, Sessions(b"i" * 16, limits, max_unfinished_tasks=1, max_unfinished_bytes=1))
    running = asyncio.create_task(server.run())
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            await script(socket, notes)
    finally:
        server.stop()
        await running


@pytest.mark.parametrize("answers", [[], [SendResult.SENT], [SendResult.SENT, SendResult.FULL, SendResult.SENT]])
def test_the_end_of_a_connection_is_noticed_though_the_socket_knows_of_it_later(answers):
    async def script(socket, notes):
        socket.input.append((b"route", registration(), DESCRIPTOR))
        socket.wake()
        assert await notes.events.get() is PeerJoined
        socket.late[b"route"] = list(answers)
        socket.lost.append(DESCRIPTOR)
        socket.wake()

        assert await notes.events.get() is PeerDetached
        assert len(socket.probed) == len(answers) + 1

    asyncio.run(serve(script))


@pytest.mark.parametrize("how", ["asked", "sent to"])
def test_the_last_words_of_a_connection_count_though_its_end_is_noticed_before_them(how):
    async def script(socket, notes):
        socket.input.append((b"route", registration(), DESCRIPTOR))
        socket.wake()
        assert await notes.events.get() is PeerJoined
        socket.last_words[b"route"] = codec.encode(m.Packet(1, 0, [m.Leave("done")]))
        if how == "asked":
            socket.lost.append(DESCRIPTOR)
        else:
            socket.input.append((b"route", codec.encode(m.Packet(0, 0, [m.Heartbeat()])), DESCRIPTOR))
        socket.wake()

        assert await notes.events.get() is PeerLeft

    asyncio.run(serve(script))


class Chatter(list):
    """Input that never ends: after what lies in it, one peer goes on and on."""

    def __bool__(self):
        return True

    def pop(self, index):
        return super().pop(index) if len(self) else (b"chatter", codec.encode(codec.EMPTY_PACKET), -1)


def test_the_end_of_a_connection_is_noticed_though_somebody_never_stops_talking(monkeypatch):
    monkeypatch.setattr(server_module, "_LAST_WORDS_SECONDS", 0.0)

    async def script(socket, notes):
        socket.input = Chatter([(b"route", registration(), DESCRIPTOR)])
        socket.wake()
        assert await notes.events.get() is PeerJoined
        socket.late[b"route"] = []
        socket.lost.append(DESCRIPTOR)

        assert await notes.events.get() is PeerDetached

    asyncio.run(serve(script))


def test_who_comes_by_the_same_number_in_that_turn_stays_and_its_own_end_is_noticed():
    async def script(socket, notes):
        socket.input.append((b"first", registration(), DESCRIPTOR))
        socket.wake()
        assert await notes.events.get() is PeerJoined
        socket.late.update({b"first": [SendResult.SENT], b"second": [SendResult.SENT] * 100})
        socket.lost.append(DESCRIPTOR)
        socket.input.append((b"second", registration(), DESCRIPTOR))
        socket.wake()

        assert await notes.events.get() is PeerJoined
        assert await notes.events.get() is PeerDetached
        socket.lost.append(DESCRIPTOR)
        socket.late[b"second"] = []
        socket.wake()
        assert await notes.events.get() is PeerDetached

    asyncio.run(serve(script))
