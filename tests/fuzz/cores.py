"""Messages that are well formed and mean nothing good, to the cores behind the sockets: tables stay consistent.

Only `ProtocolError` may come of a message, and whatever the core answers can be written.
"""

from copy import copy
from random import Random

from scaler_object_storage.core import events as e
from scaler_object_storage.core.store import Greeting, Store
from scaler_object_storage.header import Header
from scaler_protocol import codec
from scaler_protocol import messages as m
from scaler_protocol import storage_messages as sm
from scaler_protocol.errors import ProtocolError
from scaler_runtime import core as c
from scaler_scheduler.core.scheduler import SchedulerCore
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.policies.registry import parse_policy
from tests.fuzz import records

PEERS = {
    b"a" * 16: "client",
    b"b" * 16: "client",
    b"h" * 16: "host",
    b"i" * 16: "host",
    b"v" * 16: "worker",
    b"w" * 16: "worker",
    b"x" * 16: "worker",
    b"n" * 16: "adapter",
    b"o" * 16: "adapter",
}
_SAID = {
    "client": (
        m.DefineFunction,
        m.ForgetFunctions,
        m.SubmitBatch,
        m.SubmitBatch,
        m.SubmitBatch,
        m.CancelTasks,
        m.AbandonBatches,
    ),
    "worker": (m.WorkerHello, m.TaskResults, m.TaskResults, m.SlicesReturned),
    "host": (m.HostReport, m.ProcessEnded),
    "adapter": (m.AdapterReport,),
}
_POLICIES = (
    "allocate=even_load; scaling=no",
    "allocate=capability; scaling=capability(upper=1,cooldown=1)",
    "allocate=even_load; scaling=vanilla(upper=2,lower=1,cooldown=1)",
    "allocate=even_load; scaling=backlog",
)


class SchedulerFuzz:
    """A scheduler's core and peers of all roles that say what they please."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.now = 1000.0
        settings = Settings(
            parse_policy(self.rng.choice(_POLICIES)),
            "tcp://h:1",
            task_retry_limit=1,
            max_number_of_tasks_waiting=self.rng.choice((-1, -1, 5)),
            max_unfinished_tasks=50,
            max_unfinished_bytes=1000,
        )
        self.core = SchedulerCore(settings, self.now)
        self.joined: set[bytes] = set()
        self.messages = 0
        self.refused = 0

    def run(self, steps: int) -> None:
        """Let so many things happen."""
        for _ in range(steps):
            self._step()

    def _step(self) -> None:
        rng = self.rng
        what = rng.random()
        peer = rng.choice(list(PEERS))
        self.now += rng.choice((0.0, 0.001, 0.1, 3.0))
        if peer not in self.joined:
            self._join(peer)
        elif what < 0.01:
            self._leave(peer)
        elif what < 0.03:
            self._handle(rng.choice((c.PeerDetached, c.PeerAttached, c.Congested, c.Relieved))(peer))
        elif what < 0.25:
            self._handle(c.Settle())
        else:
            self._say(peer)

    def _join(self, peer: bytes) -> None:
        self.joined.add(peer)
        register = m.Register(PEERS[peer], peer, b"s" * 16, m.PRODUCT, 1, "3", "name", "host", 1, b"", 0)
        if PEERS[peer] == "client" and self.rng.random() < 0.3:
            register.instance_id = b"before"
        if PEERS[peer] == "client" and self.rng.random() < 0.3:
            register.parent_worker, register.parent_incarnation = self.rng.choice(("W1", "W2")), self.rng.randrange(3)
        self._handle(c.PeerJoined(peer, register))

    def _leave(self, peer: bytes) -> None:
        self.joined.discard(peer)
        self._handle(c.PeerLeft(peer, "it said so"))

    def _say(self, peer: bytes) -> None:
        role = PEERS[peer]
        if self.rng.random() < 0.02:
            role = self.rng.choice(list(_SAID))  # what is another's to say
        message = self._plausible(peer) or records.message(self.rng, _SAID[role])
        try:
            frames = codec.encode(m.Packet(1, 0, [message]))
            (message,) = codec.decode(frames).messages
        except ProtocolError:
            return  # would not have come through the codec
        self.messages += 1
        self._handle(c.Received(peer, message))

    def _plausible(self, peer: bytes) -> m.Message | None:
        """Return an answer to a slice that the worker has, with small lies."""
        worker = self.core.state.worker_of_peer.get(peer)
        if worker is None or not worker.slices or self.rng.random() < 0.3:
            return None
        piece = self.rng.choice(list(worker.slices.values()))
        return records.results(self.rng, piece.slice_id, piece.next, max(1, piece.stop - piece.next))

    def _handle(self, event: c.Event) -> None:
        told = copy(event)
        try:
            effects = self.core.handle(event, self.now)
        except ProtocolError:
            self.refused += 1
            effects = []
        except Exception as error:
            error.add_note(f"on {told!r:.3000}")
            raise
        try:
            self.core.state.check()
            self.core.next_wakeup()
        except AssertionError as error:
            error.add_note(f"after {told!r:.3000}")
            raise
        for effect in effects:
            if isinstance(effect, c.Send):
                codec.encode(m.Packet(1, 0, [effect.message]))
            elif isinstance(effect, c.EndSession) and effect.peer in self.joined:
                self._leave(effect.peer)


_STORAGE_SAID = records.kinds_of(sm.StorageMessage)


class StoreFuzz:
    """The object storage's core, peers that say what they please, and a folder of three files."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.store = Store(Greeting(b"i" * 16, "0" * 32, b"n" * 16))
        self.now = 0.0
        self.messages = 0

    def run(self, steps: int) -> None:
        """Let so many things happen."""
        for _ in range(steps):
            self.now += self.rng.choice((0.0, 0.1, 10.0))
            self._handle(e.Tick() if self.rng.random() < 0.05 else self._received())

    def _received(self) -> e.Event:
        while True:
            message = records.record(self.rng, self.rng.choice(_STORAGE_SAID))
            try:
                frames = codec.encode_storage(sm.StoragePacket([message]))
                (message,) = codec.decode_storage(frames).messages
            except ProtocolError:
                continue
            self.messages += 1
            return e.Received(self.rng.choice((b"r1", b"r2")), message)

    def _handle(self, event: e.Event) -> None:
        try:
            effects = self.store.handle(event, self.now)
            self.store.check()
        except Exception as error:
            error.add_note(f"on {event!r:.2000}")
            raise
        for effect in effects:
            if isinstance(effect, e.Look):
                there = self.rng.random() < 0.5
                self._handle(e.Seen(Header(effect.key, b"o", 5, 1)) if there else e.Gone(effect.key))
            elif isinstance(effect, e.ListFiles):
                self._handle(e.Listed([b"a" * 16]))
            elif isinstance(effect, e.Then):
                self._handle(effect.event)
            elif isinstance(effect, e.Reply):
                codec.encode_storage(sm.StoragePacket([effect.message]))
