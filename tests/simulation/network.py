"""The scheduler behind its sessions, and the peers' ends of them, with connections that break in between."""

from copy import copy
from functools import partial

from scaler_protocol import messages as m
from scaler_protocol.errors import ProtocolError
from scaler_runtime import core as c
from scaler_runtime.session import Identity, Incoming, Session, SessionEvent, Up
from scaler_runtime.sessions import Patience, Sessions
from scaler_scheduler.core.scheduler import SchedulerCore
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.policies.registry import parse_policy
from tests.simulation.world import World

HEARTBEAT_SECONDS = 2.0
CLIENT_SILENT_SECONDS = 20.0
PATIENCE = {
    "client": Patience(CLIENT_SILENT_SECONDS, None),
    "worker": Patience(None, 3.0),
    "host": Patience(10.0, 3.0),
    "adapter": Patience(10.0, None),
}
_RECONNECT_SECONDS = 0.1
_NOTICE_SECONDS = 1.0


class Connection:
    """One connection: packets arrive in order, some of them again later, or not at all once it is broken."""

    def __init__(self, world: World, peer: "Peer", server: "Server") -> None:
        self.route = world.new_id("r")
        self.peer = peer
        self.alive = True
        self.is_cut = False
        """Whether nothing arrives, without anybody having noticed."""
        self._world = world
        self._server = server
        self._arrivals = [world.now, world.now]

    def send(self, packet: m.Packet, *, to_scheduler: bool) -> None:
        """Let a packet arrive later."""
        arrival = max(self._arrivals[to_scheduler], self._world.now + self._world.delay())
        self._arrivals[to_scheduler] = arrival
        self._deliver(packet, arrival, to_scheduler=to_scheduler)
        if packet.first_sequence and self._world.chance(self._world.faults.duplicate_share):
            self._deliver(packet, arrival + self._world.delay(), to_scheduler=to_scheduler)

    def _deliver(self, packet: m.Packet, arrival: float, *, to_scheduler: bool) -> None:
        """Hand over a copy: each end may do with it what it likes."""
        packet = m.Packet(packet.first_sequence, packet.acknowledged, [copy(message) for message in packet.messages])
        self._world.at(arrival - self._world.now, partial(self._arrive, packet, to_scheduler=to_scheduler))

    def _arrive(self, packet: m.Packet, *, to_scheduler: bool) -> None:
        if self.alive and not self.is_cut:
            if to_scheduler:
                self._server.receive(self.route, packet)
            else:
                self.peer.receive(packet)


class Server:
    """What the scheduler's driver does, without sockets. `core` is None while it is down."""

    def __init__(self, world: World, policy: str, task_retry_limit: int) -> None:
        self._world = world
        self._policy = parse_policy(policy)
        self._task_retry_limit = task_retry_limit
        self.connections: dict[bytes, Connection] = {}
        self.core: SchedulerCore | None = None
        self.instances = 0
        self.stray_messages: list[str] = []
        self._turning = False
        self._wake_at: float | None = None
        self.start()

    def start(self) -> None:
        """Start an instance that knows nothing."""
        self.instances += 1
        self._world.log(f"scheduler instance {self.instances} starts")
        settings = Settings(
            self._policy,
            "tcp://here:1",
            id_prefix=f"s{self.instances}",
            first_slice_id=self.instances << 32,
            worker_timeout_seconds=5.0,
            task_retry_limit=self._task_retry_limit,
        )
        self.core = SchedulerCore(settings, self._world.now)
        self._sessions = Sessions(
            self._world.new_id("i"), PATIENCE, max_unfinished_tasks=100_000, max_unfinished_bytes=1 << 30
        )
        self._turn_soon()

    def crash(self) -> None:
        """End without a word; all connections end."""
        self._world.log("scheduler crashes")
        self.core = None
        for connection in list(self.connections.values()):
            connection.peer.disconnect()

    def receive(self, route: bytes, packet: m.Packet) -> None:
        """Take in a packet."""
        if self.core is not None:
            self._handle_all(self._sessions.receive(route, packet, self._world.now))
            self._turn_soon()

    def notice(self, route: bytes) -> None:
        """Learn that a connection has ended."""
        if self.core is not None:
            self._handle_all(self._sessions.unreachable(route, self._world.now))
            self._turn_soon()

    def _turn_soon(self) -> None:
        if not self._turning:
            self._turning = True
            self._world.at(0.0, self._turn)

    def _turn(self) -> None:
        self._turning = False
        if self.core is None:
            return
        self._handle_all(self._sessions.expire(self._world.now))
        self._handle(c.Settle())
        for route, packet in list(self._sessions.outgoing()):
            connection = self.connections.get(route)
            if connection is not None:
                connection.send(packet, to_scheduler=False)
        self._schedule()

    def _schedule(self) -> None:
        assert self.core is not None
        wakeups = (self.core.next_wakeup(), self._sessions.next_wakeup())
        due = min((at for at in wakeups if at is not None), default=None)
        if due is not None and (self._wake_at is None or due < self._wake_at or self._wake_at <= self._world.now):
            self._wake_at = max(due, self._world.now)
            self._world.at(self._wake_at - self._world.now, partial(self._wake, self._wake_at))

    def _wake(self, due: float) -> None:
        if due == self._wake_at:
            self._wake_at = None
            self._turn_soon()

    def _handle_all(self, events: list[c.Event]) -> None:
        for event in events:
            self._handle(event)

    def _handle(self, event: c.Event) -> None:
        assert self.core is not None
        try:
            effects = self.core.handle(event, self._world.now)
        except ProtocolError as error:  # honest peers never cause one
            self.stray_messages.append(f"{error}: {event}")
            return
        for effect in effects:
            if isinstance(effect, c.Send):
                self._handle_all(self._sessions.send(effect.peer, effect.message))
            elif isinstance(effect, c.Vouch):
                self._sessions.vouch(effect.peer, vouched=effect.vouched, now=self._world.now)
            elif isinstance(effect, c.EndSession):
                self._handle_all(self._sessions.end(effect.peer, effect.reason))
            elif isinstance(effect, c.Log):
                self._world.log(f"scheduler: {effect.text}")
        if isinstance(event, c.Settle):
            self.core.check(self._world.now)
        else:
            self.core.state.check()


class Peer:
    """A process with a session. `kill` ends it without a word."""

    role: m.Role

    def __init__(self, world: World, server: Server, name: str) -> None:
        self.world = world
        self.server = server
        self.name = name
        self.is_alive = True
        self.connection: Connection | None = None
        letter = self.role[0]
        self.session = Session(Identity(self.role, name, world.new_id(letter), world.new_id("x")), HEARTBEAT_SECONDS)
        world.at(world.rng.random() * 0.02, self.connect)
        world.at(world.rng.random() * HEARTBEAT_SECONDS, self._beat)

    @property
    def peer(self) -> bytes:
        """Return the name that the scheduler knows."""
        return self.session.identity.session_id

    def connect(self) -> None:
        """Connect, now or as soon as the scheduler is there."""
        if not self.is_alive or self.connection is not None:
            return
        if self.server.core is None:
            self.world.at(_RECONNECT_SECONDS, self.connect)
            return
        self.connection = Connection(self.world, self, self.server)
        self.server.connections[self.connection.route] = self.connection
        self.session.on_connected()
        self.flush()

    def disconnect(self) -> None:
        """Lose the connection, and seek it again; the scheduler notices a little later."""
        connection, self.connection = self.connection, None
        if connection is None:
            return
        connection.alive = False
        del self.server.connections[connection.route]
        self.world.at(self.world.rng.random() * _NOTICE_SECONDS, partial(self.server.notice, connection.route))
        for event in self.session.on_disconnected():
            self.on_event(event)
        outage = _RECONNECT_SECONDS + self.world.faults.outage_seconds * self.world.rng.random() ** 2
        self.world.at(outage, self.connect)

    def cut_off(self, seconds: float) -> None:
        """Have nothing arrive for a while, which nobody notices; after it the connection is seen to be broken."""
        connection = self.connection
        if connection is None or connection.is_cut:
            return
        connection.is_cut = True

        def heal() -> None:
            if self.connection is connection:
                self.disconnect()

        self.world.at(seconds, heal)

    def send(self, message: m.Message) -> None:
        """Send a message in order; before the first registration it is dropped."""
        if self.is_alive:
            self.session.send(message)
            self.flush()

    def receive(self, packet: m.Packet) -> None:
        """Take in a packet."""
        for event in self.session.on_packet(packet):
            self.on_event(event)
        self.flush()

    def flush(self) -> None:
        """Hand over what is queued."""
        if self.connection is not None:
            for packet in self.session.packets():
                self.connection.send(packet, to_scheduler=True)

    def kill(self, farewell: str = "") -> None:
        """End the process; with a farewell the scheduler is told."""
        if not self.is_alive:
            return
        if farewell:
            self.send(m.Leave(farewell))
        self.is_alive = False
        connection, self.connection = self.connection, None
        if connection is None:
            return
        del self.server.connections[connection.route]

        def close() -> None:
            connection.alive = False
            self.server.notice(connection.route)

        if not farewell:
            connection.alive = False
        self.world.at(0.5 + self.world.rng.random() * _NOTICE_SECONDS, close)

    def on_event(self, event: SessionEvent) -> None:
        """Take in what the session brings."""
        if isinstance(event, Up):
            self.on_up(event)
        elif isinstance(event, Incoming) and self.is_alive:
            self.on_message(event.message)

    def on_up(self, up: Up) -> None:
        """The session is up; `fresh`: everything is to be said again."""

    def on_message(self, message: m.Message) -> None:
        """Take in a message."""

    def beat(self) -> None:
        """Give a sign of life."""
        self.session.beat()
        self.flush()

    def _beat(self) -> None:
        if self.is_alive:
            self.beat()
            if self.world.happens(self.world.faults.connection_loss_rate, HEARTBEAT_SECONDS):
                self.disconnect()
            self.world.at(HEARTBEAT_SECONDS, self._beat)
