"""A load for the scheduler's core alone: one client with more work than can be done, and any number of workers.

Workers are columns of numbers that answer ten tasks at a time; only the time spent in the core is counted.
`python -m tests.simulation.throughput [workers]` shows what functions it is spent in.
"""

import cProfile
import pstats
import sys
import time
from collections import deque
from collections.abc import Sequence

from scaler_protocol import messages as m
from scaler_protocol.batch import F64, U8, U32, U64, Encoding, Status, column, numbers
from scaler_runtime import core as c
from scaler_scheduler.core.scaling import PAUSE_SECONDS
from scaler_scheduler.core.scheduler import SchedulerCore
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.policies.registry import parse_policy
from scaler_scheduler.server import MAX_UNFINISHED_TASKS

TASK_SECONDS = 0.001
_BATCH, _BLOCK = 4096, 64
_MESSAGES_PER_TURN = 512
_ANSWER = 10
WORKERS_OF_A_HOST = 64
_DECISIONS = 20
_REPORTS = 100
_POLICY = "allocate=even_load; scaling=backlog(target=1,cooldown=1000)"


class Load:
    """One client with more work than can be done, one adapter, and the workers of its groups."""

    def __init__(self, workers: int) -> None:
        self.core = SchedulerCore(Settings(parse_policy(_POLICY), "tcp://127.0.0.1:1"), 0.0)
        self.now = 0.0
        self.spent = 0.0
        self.tasks = 0
        self.slices = 0
        self._credit = MAX_UNFINISHED_TASKS
        self._inbox: deque[c.Event] = deque()
        self._queues: dict[bytes, deque[list[int]]] = {}
        self._batches = 0
        self._unfinished = 0
        self._hosts: dict[bytes, list[m.WorkerReport]] = {}
        self._join("client", b"A")
        self._join("adapter", b"N")
        self._groups = [m.GroupReport(f"g{n}", "ready", "", [], {}) for n in range(workers)]
        self._say(b"N", m.AdapterReport("N", 0, workers, 1, {}, self._groups, []))
        for n in range(workers):
            peer, host = f"W{n}".encode(), f"H{n // WORKERS_OF_A_HOST}".encode()
            if host not in self._hosts:
                self._hosts[host] = []
                self._join("host", host)
            self._hosts[host].append(m.WorkerReport(f"W{n}", f"g{n}", 1, 1, "running"))
            self._queues[peer] = deque()
            self._join("worker", peer)
            self._say(peer, m.WorkerHello(f"W{n}", 1, host, f"g{n}", 1000, 1, {}))
        self._say(b"A", m.DefineFunction(b"f" * 16, "f", b"code"))
        self._turn()
        self.core.state.durations.add(b"f" * 16, TASK_SECONDS, 1)

    def run(self, tasks: int) -> None:
        """Work until so many tasks are done."""
        self.tasks, self.slices, self.spent = 0, 0, 0.0
        while self.tasks < tasks:
            while self._unfinished < self._credit:
                self._submit()
            self._turn()
            self.now += _ANSWER * TASK_SECONDS
            for peer, queue in self._queues.items():
                self._answer(peer, queue)
            self._turn()

    def beat(self) -> tuple[float, float]:
        """Let all hosts and the adapter report; return CPU seconds for the report of a host, and of the adapter."""
        reports = [c.Received(peer, m.HostReport(list(entries))) for peer, entries in self._hosts.items()]
        host = self._cost(reports * -(-_REPORTS // len(reports)))
        capacity = len(self._groups)
        report = m.AdapterReport("N", 0, capacity, 1, {}, list(self._groups), [])
        return host, self._cost([c.Received(b"N", report)] * 3)

    def decide(self) -> float:
        """Return the CPU seconds of a scaling decision, with everything that is looked at when nothing has happened."""
        self.now += 1.0
        self.core.handle(c.Settle(), self.now)
        began = time.process_time()
        for _ in range(_DECISIONS):
            self.now += 2 * PAUSE_SECONDS
            self.core.handle(c.Settle(), self.now)
        return (time.process_time() - began) / _DECISIONS

    def _cost(self, events: Sequence[c.Event]) -> float:
        began = time.process_time()
        for event in events:
            self.core.handle(event, self.now)
        return (time.process_time() - began) / len(events)

    def _join(self, role: str, peer: bytes) -> None:
        self._inbox.append(c.PeerJoined(peer, m.Register(role, peer, b"", "", 1, "", "", "", 1, b"", 0)))

    def _say(self, peer: bytes, message: m.Message) -> None:
        self._inbox.append(c.Received(peer, message))

    def _submit(self) -> None:
        self._batches += 1
        self._unfinished += _BATCH
        blocks = _BATCH // _BLOCK
        self._say(
            b"A",
            m.SubmitBatch(
                self._batches,
                b"f" * 16,
                _BATCH,
                Encoding.VALUES,
                column(U32, [_BLOCK] * blocks),
                column(U32, [100] * blocks),
                b"x" * 100 * blocks,
            ),
        )

    def _answer(self, peer: bytes, queue: deque[list[int]]) -> None:
        """Answer the next tasks, in as many messages as they are slices."""
        left = _ANSWER
        while left and queue:
            slice_id, batch_id, start, stop = queue[0]
            count = min(left, stop - start)
            left -= count
            queue[0][2] += count
            if queue[0][2] == stop:
                queue.popleft()
            self._say(
                peer,
                m.TaskResults(
                    slice_id=slice_id,
                    client_id=b"A",
                    batch_id=batch_id,
                    starts=column(U32, [start]),
                    counts=column(U32, [count]),
                    statuses=column(U8, [Status.VALUES]),
                    sizes=column(U32, [100]),
                    durations=column(F64, [count * TASK_SECONDS]),
                    payload=b"x" * 100,
                ),
            )

    def _turn(self) -> None:
        """Let the core take in what waits, as the server does: some hundred messages, then a decision."""
        while self._inbox:
            began = time.process_time()
            effects: list[c.Effect] = []
            for _ in range(min(_MESSAGES_PER_TURN, len(self._inbox))):
                effects += self.core.handle(self._inbox.popleft(), self.now)
            effects += self.core.handle(c.Settle(), self.now)
            self.core.next_wakeup()
            self.spent += time.process_time() - began
            for effect in effects:
                if isinstance(effect, c.Send):
                    self._carry_out(effect.peer, effect.message)

    def _carry_out(self, peer: bytes, message: m.Message) -> None:
        if isinstance(message, m.AssignSlice):
            self.slices += 1
            self._queues[peer].append([message.slice_id, message.batch_id, message.start, message.stop])
        elif isinstance(message, m.TaskResults):
            count = sum(numbers(U32, message.counts))
            self.tasks += count
            self._unfinished -= count
        elif isinstance(message, m.RecallSlices):
            ids, limits = numbers(U64, message.slice_ids), []
            for slice_id, limit in zip(ids, numbers(U32, message.limits), strict=True):
                limits.append(self._take_back(peer, slice_id, limit))
            self._say(peer, m.SlicesReturned(message.slice_ids, column(U32, limits)))

    def _take_back(self, peer: bytes, slice_id: int, limit: int) -> int:
        queue = self._queues[peer]
        for index, entry in enumerate(queue):
            if entry[0] == slice_id:
                entry[3] = max(limit, entry[2] + (index == 0))
                if entry[2] >= entry[3]:
                    del queue[index]
                return max(limit, entry[3])
        return limit


def main() -> None:
    """Print the functions that cost most."""
    load = Load(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
    load.run(20_000)
    profile = cProfile.Profile()
    profile.enable()
    load.run(200_000)
    profile.disable()
    pstats.Stats(profile).sort_stats("tottime").print_stats(18)


if __name__ == "__main__":
    main()
