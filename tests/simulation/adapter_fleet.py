"""Many adapters with many groups on the scheduler's core: from zero to all groups and back, and what each event costs.

Adapters obey at once and register a worker for each group; only the time spent in the core is counted.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from scaler_protocol import messages as m
from scaler_protocol.batch import U32, Encoding, column
from scaler_runtime import core as c
from scaler_scheduler.core.scheduler import SchedulerCore
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.policies.registry import parse_policy

_POLICY = "allocate=even_load; scaling=vanilla(upper=1,lower=1,cooldown=1)"
_FUNCTION = b"f" * 16
_STEP_SECONDS = 0.05
_MOST_STEPS = 1000


@dataclass
class Costs:
    """CPU seconds in the core."""

    events: int
    """From the first task until all groups have gone."""
    each: float
    heartbeat: float
    """The report of one adapter, when everything is there."""
    decision: float
    groups: int
    """Most that were there at one time."""


class Fleet:
    """See the module."""

    def __init__(self, adapters: int, groups: int) -> None:
        settings = Settings(parse_policy(_POLICY), "tcp://127.0.0.1:1", settling_seconds=0.0)
        self.core = SchedulerCore(settings, 0.0)
        self.now = 0.0
        self.spent = 0.0
        self.events = 0
        self.most = 0
        self._groups = groups
        self._capacity = -(-groups // adapters)
        self._states: dict[bytes, dict[str, str]] = {}
        self._commands: dict[bytes, m.AdapterCommand] = {}
        self._join("client", b"A")
        self._handle(c.Received(b"A", m.DefineFunction(_FUNCTION, "f", b"code")))
        for number in range(adapters):
            peer = f"N{number}".encode()
            self._states[peer] = {}
            self._join("adapter", peer)
            self._join("host", b"H" + peer)
            self._report(peer, 0)

    def run(self) -> Costs:
        """Ask for all groups, have them, and let them go."""
        self.events, self.spent = 0, 0.0
        number = self._groups
        empty = column(U32, [1] * number)
        batch = m.SubmitBatch(1, _FUNCTION, number, Encoding.CALL, empty, empty, b"x" * number)
        self._handle(c.Received(b"A", batch))
        self._step_until(lambda: sum(map(len, self._states.values())) == number)
        began, handled = self.spent, self.events
        for peer in self._states:
            self._report(peer, self.core.state.adapters[peer].revision)
        heartbeat = (self.spent - began) / (self.events - handled)
        decision = self._decide()
        self._handle(c.Received(b"A", m.CancelTasks(1, column(U32, [0]), column(U32, [number]))))
        self._handle(c.Received(b"A", m.AbandonBatches([1])))
        self.core.state.check()
        for worker in list(self.core.state.workers.values()):
            self._handle(c.PeerLeft(worker.peer, "for the test"))
        self._step_until(lambda: not any(self._states.values()))
        return Costs(self.events, self.spent / self.events, heartbeat, decision, self.most)

    def _decide(self) -> float:
        self._settle()
        before = self.spent
        for _ in range(10):
            self._settle()
        return (self.spent - before) / 10

    def _step_until(self, reached: Callable[[], bool]) -> None:
        for _ in range(_MOST_STEPS):
            self._settle()
            self._obey()
            self.most = max(self.most, sum(map(len, self._states.values())))
            if reached():
                return
        raise AssertionError("the groups do not come, or do not go")

    def _settle(self) -> None:
        self.now += _STEP_SECONDS
        self._handle(c.Settle())

    def _obey(self) -> None:
        commands, self._commands = self._commands, {}
        for peer, command in commands.items():
            states = self._states[peer]
            fresh = [spec.group_id for spec in command.groups if spec.group_id not in states]
            states |= dict.fromkeys(fresh, "ready")
            for group_id in command.stop:
                states.pop(group_id, None)
            assert len(states) <= self._capacity, "more groups than the adapter takes"
            self._report(peer, command.revision)
            for group_id in fresh:
                worker = b"W" + group_id.encode()
                self._join("worker", worker)
                hello = m.WorkerHello(group_id, 1, b"H" + peer, group_id, 1000, 1, {})
                self._handle(c.Received(worker, hello))

    def _report(self, peer: bytes, revision: int) -> None:
        groups = [m.GroupReport(group_id, state, "", [], {}) for group_id, state in self._states[peer].items()]
        self._handle(c.Received(peer, m.AdapterReport(peer.decode(), revision, self._capacity, 1, {}, groups, [])))

    def _join(self, role: str, peer: bytes) -> None:
        self._handle(c.PeerJoined(peer, m.Register(role, peer, b"", "", 1, "", "", "", 1, b"", 0)))

    def _handle(self, event: c.Event) -> None:
        began = time.process_time()
        effects = self.core.handle(event, self.now)
        self.spent += time.process_time() - began
        self.events += 1
        for effect in effects:
            if isinstance(effect, c.Send) and isinstance(effect.message, m.AdapterCommand):
                self._commands[effect.peer] = effect.message
