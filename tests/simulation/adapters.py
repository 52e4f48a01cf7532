"""Adapters with their real core on an engine that pretends to have machines, and their crashes."""

from functools import partial

from scaler_adapter_core import events as e
from scaler_adapter_core.adapter import Adapter
from scaler_adapter_core.fake import FakeEngine
from scaler_adapter_core.model import AdapterProfile, Limits
from scaler_adapter_core.provider import ENDED_UNITS, LaunchOutcome, LaunchResult, ProviderError, UnitState
from scaler_protocol import messages as m
from scaler_runtime.session import Up
from tests.simulation.network import HEARTBEAT_SECONDS, Peer, Server
from tests.simulation.workers import Host
from tests.simulation.world import World

_REFUSALS = (LaunchResult.NO_CAPACITY, LaunchResult.QUOTA, LaunchResult.UNAVAILABLE)


class Site:
    """An engine, the hosts of its units, and the adapter in front of it, which may crash and come back."""

    def __init__(self, world: World, server: Server, name: str, profile: AdapterProfile) -> None:
        self.world = world
        self.server = server
        self.name = name
        self.profile = profile
        rng = world.rng
        self.engine = FakeEngine(
            pending_seconds=rng.choice([0.0, 0.5, 3.0]),
            start_seconds=rng.choice([0.1, 0.5, 2.0]),
            stop_seconds=rng.choice([0.0, 0.3, 1.0]),
            sees_readiness=rng.choice([True, True, False]),
        )
        self.hosts: dict[str, Host] = {}
        self.extras = 0
        self.restarts = 0
        self.adapter = SimulatedAdapter(self)
        world.at(1.0, self._live)
        world.at(0.0, self._advance)

    def restart_adapter(self) -> None:
        """Start an adapter that knows nothing; the units are there."""
        self.restarts += 1
        self.adapter = SimulatedAdapter(self)

    def call(self, call: e.Call) -> e.Event:
        """Carry a call out, with its faults."""
        world, engine = self.world, self.engine
        engine.faults.down = "the engine is out of reach" if world.chance(world.faults.call_failure_share) else ""
        try:
            answer = self._ask(call)
        except ProviderError as error:
            answer = e.CallFailed(str(error))
        self.sync()
        return answer

    def _ask(self, call: e.Call) -> e.Event:
        engine, now = self.engine, self.world.now
        match call:
            case e.CallLaunch():
                return self._launch(call)
            case e.CallObserve():
                return e.UnitsObserved(engine.observe(now))
            case e.CallTerminate(group_ids, mode, _):
                engine.terminate(group_ids, mode, now)
                return e.Terminated()
            case e.CallDiagnose(group_id):
                unit = engine.units.get(group_id)
                return e.Diagnosed(unit.reason if unit else "")

    def _launch(self, call: e.CallLaunch) -> e.Event:
        world, faults = self.world, self.engine.faults
        faults.outcomes.extend(self._outcome() for _ in call.specs)
        faults.unknown_starts = world.chance(0.5)
        faults.extras = sum(world.chance(world.faults.extra_share) for _ in call.specs)
        before = len(self.engine.units)
        try:
            outcomes = self.engine.launch(call.specs, world.now)
        finally:
            faults.extras = 0
            faults.outcomes.clear()
        started = list(self.engine.units)[before:]
        self.extras += sum(group_id.endswith("-extra") for group_id in started)
        return e.Launched(outcomes)

    def sync(self) -> None:
        """Have hosts where units run, and none where they have ended."""
        self.engine.advance(self.world.now)
        for group_id, unit in self.engine.units.items():
            host = self.hosts.get(group_id)
            if unit.state in ENDED_UNITS:
                if host is not None:
                    self.hosts.pop(group_id).die("its unit ends")
            elif unit.state in {UnitState.DRAINING, UnitState.STOPPING}:
                if host is not None:
                    host.drain()
            elif unit.state is not UnitState.PENDING and host is None:
                if self.world.chance(self.world.faults.start_failure_share):
                    self.engine.end(group_id, "it could not start")
                    continue
                self.hosts[group_id] = self._host(group_id, unit.worker_ids, unit.capabilities)

    def _host(self, group_id: str, worker_ids: tuple[str, ...], capabilities: m.Capabilities) -> Host:
        ids = tuple(f"{worker_ids[0]}.{index}" for index in range(self.profile.workers_per_group))
        return Host(
            self.world,
            self.server,
            group_id,
            worker_ids=ids,
            capabilities=capabilities,
            on_ended=partial(self._on_host_ended, group_id),
        )

    def _on_host_ended(self, group_id: str) -> None:
        """A unit ends with its last worker."""
        host = self.hosts.pop(group_id, None)
        if host is not None:
            host.kill("its last worker has ended")
            unit = self.engine.units.get(group_id)
            if unit is not None and unit.state not in ENDED_UNITS:
                self.engine.end(group_id, "its last worker has ended")
                if host.is_draining:
                    unit.state = UnitState.GONE

    def _outcome(self) -> LaunchOutcome:
        world = self.world
        if world.chance(world.faults.refusal_share):
            return LaunchOutcome(world.rng.choice(_REFUSALS), "not now")
        if world.chance(world.faults.unknown_share):
            return LaunchOutcome(LaunchResult.UNKNOWN, "no answer")
        return LaunchOutcome(LaunchResult.ACCEPTED)

    def _advance(self) -> None:
        self.sync()
        self.world.at(0.25, self._advance)

    def _live(self) -> None:
        """Let a second pass, with its faults."""
        world = self.world
        for unit in list(self.engine.live):
            if world.happens(world.faults.unit_loss_rate, 1.0):
                world.log(f"unit {unit.group_id} vanishes")
                self.engine.lose(unit.group_id)
                host = self.hosts.pop(unit.group_id, None)
                if host is not None:
                    host.die()
        if self.adapter.is_alive and world.happens(world.faults.adapter_crash_rate, 1.0):
            world.log(f"adapter {self.name} crashes")
            self.adapter.kill()
            world.at(world.rng.random() * 15.0, self.restart_adapter)
        world.at(1.0, self._live)


class SimulatedAdapter(Peer):
    """The process of an adapter: its real core, and calls that take their time."""

    role = "adapter"

    def __init__(self, site: Site) -> None:
        super().__init__(site.world, site.server, site.name)
        self._site = site
        self.core = Adapter(site.profile, lambda: site.world.new_id("m").decode())
        self._tick_at: float | None = None
        self._feed(e.Tick())

    def on_up(self, up: Up) -> None:
        """Tell the core."""
        self._feed(e.Connected(up.fresh))

    def disconnect(self) -> None:
        """Lose the connection, and tell the core."""
        super().disconnect()
        if self.is_alive:
            self._feed(e.Disconnected())

    def on_message(self, message: m.Message) -> None:
        """Tell the core."""
        if isinstance(message, m.AdapterCommand):
            self._feed(e.Commanded(message))

    def _feed(self, event: e.Event) -> None:
        if not self.is_alive:
            return
        for effect in self.core.handle(event, self.world.now):
            if isinstance(effect, e.SendReport):
                self.send(effect.report)
            elif isinstance(effect, e.Log):
                self.world.log(f"adapter {self.name}: {effect.text}")
            elif isinstance(effect, e.CallLaunch | e.CallObserve | e.CallTerminate | e.CallDiagnose):
                self._call(effect)
        due = self.core.next_wakeup()
        if due is not None and (self._tick_at is None or due < self._tick_at):
            self._tick_at = max(due, self.world.now)
            self.world.at(self._tick_at - self.world.now, partial(self._tick, self._tick_at))

    def _tick(self, due: float) -> None:
        if due == self._tick_at:
            self._tick_at = None
            self._feed(e.Tick())

    def _call(self, call: e.Call) -> None:
        """Carry it out after a while, and bring the answer after another."""
        slow = self.world.faults.slow_call_seconds

        def carry_out() -> None:
            if self.is_alive:
                answer = self._site.call(call)
                self.world.at(0.001 + slow * self.world.rng.random() ** 3, lambda: self._feed(answer))

        self.world.at(0.001 + slow * self.world.rng.random() ** 3, carry_out)


def profile_of(world: World, name: str) -> AdapterProfile:
    """Draw what an adapter is."""
    rng = world.rng
    return AdapterProfile(
        name,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        capabilities=rng.choice([{}, {}, {"gpu": 2}]),
        workers_per_group=rng.choice([1, 1, 2]),
        limits=Limits(
            max_groups=rng.choice([1, 2, 4]),
            poll_seconds=rng.choice([0.5, 1.0]),
            registration_seconds=rng.choice([None, 20.0]),
            absence_seconds=rng.choice([0.0, 2.0]),
        ),
    )
