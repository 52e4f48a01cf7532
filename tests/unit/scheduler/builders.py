"""A scheduler's core on a bench: small fakes say what real peers would say, and keep what they are told.

After every event the bench lets the core settle, checks its tables, and hands out what was sent. Nobody answers by
himself.
"""

import signal
from collections import Counter
from dataclasses import dataclass, field
from itertools import count, islice

from scaler_protocol import messages as m
from scaler_protocol.batch import (
    F64,
    MADE_HERE,
    RESULTS,
    U8,
    U32,
    U64,
    Encoding,
    Status,
    awaited_runs,
    check_slice,
    column,
    numbers,
    pack_stored,
)
from scaler_runtime import core as c
from scaler_scheduler.core.scheduler import SchedulerCore
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.policies.registry import parse_policy


class Bench:
    """Drives one core. `now` is its clock; `effects` is what has been sent and not been looked at."""

    def __init__(self, policy="allocate=even_load; scaling=no", now=1000.0, **settings):
        self.now = now
        settings.setdefault("settling_seconds", 0.0)
        self.core = SchedulerCore(Settings(parse_policy(policy), "tcp://127.0.0.1:1", **settings), now)
        self.effects = Effects()
        self.logs = []
        self.stopped = None
        self.deleted = []
        self.deleted_owners = []
        self.peers = {}
        self.vouched = set()
        self.dismissed = []
        self.settles = True
        """Whether the core settles after every event, as a server that has nothing else to read lets it."""

    @property
    def state(self):
        return self.core.state

    # ---- peers

    def client(self, name="A", inside=None, before=b""):
        """Let a client join; `inside` is the worker whose process it lives in, `before` a scheduler that it had."""
        home = {} if inside is None else {"parent_worker": inside.worker_id, "parent_incarnation": inside.incarnation}
        return self._join(FakeClient(self, name.encode()), "client", instance_id=before, **home)

    def host(self, name="H"):
        return self._join(FakeHost(self, name.encode()), "host")

    def adapter(self, name="N", **profile):
        adapter = self._join(FakeAdapter(self, name.encode(), **profile), "adapter")
        adapter.report()
        return adapter

    def worker(self, name="W", host=None, **hello):
        if host is None:
            host = self.peers.get(b"H") or self.host()
        worker = self._join(FakeWorker(self, name.encode(), host, name), "worker")
        worker.hello(**hello)
        return worker

    def helper(self, lender):
        """Let the helper start that the lender's host was asked for last; it is ready at once."""
        lend = next(lend for lend in reversed(lender.host.lends) if lend.worker_id == lender.worker_id)
        return self.worker(
            lend.helper_id, lender.host, lender=lender, group=lender.group, queue_size=1, suspends=lender.suspends
        )

    def workers(self, number, **hello):
        return [self.worker(f"W{index}", **hello) for index in range(1, number + 1)]

    def _join(self, peer, role, **fields):
        self.peers[peer.peer] = peer
        joined = register(role, peer.peer)
        for name, value in fields.items():
            setattr(joined, name, value)
        self.handle(c.PeerJoined(peer.peer, joined))
        return peer

    # ---- events

    def say(self, peer, message):
        self.handle(c.Received(peer, message))

    def leave(self, peer, reason="it said so", *, orderly=True):
        del self.peers[peer.peer]
        self.handle(c.PeerLeft(peer.peer, reason, orderly))

    def handle(self, event):
        self._carry_out(self.core.handle(event, self.now))
        self.state.check()
        if self.settles:
            self.settle()

    def settle(self):
        self._carry_out(self.core.handle(c.Settle(), self.now))
        self.core.check(self.now)

    def advance(self, seconds):
        """Let time pass, with a settle whenever the core wants one."""
        end = self.now + seconds
        for _ in range(10_000):
            due = self.core.next_wakeup()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self.settle()
        else:
            raise AssertionError("the core wants to settle all the time")
        self.now = end

    def _carry_out(self, effects):
        for effect in effects:
            if isinstance(effect, c.Send):
                self.effects.append(effect.peer, effect.message)
                if effect.peer in self.peers:
                    self.peers[effect.peer].on_message(effect.message)
            elif isinstance(effect, c.Log):
                self.logs.append((effect.level, effect.text))
            elif isinstance(effect, c.Vouch):
                (self.vouched.add if effect.vouched else self.vouched.discard)(effect.peer)
            elif isinstance(effect, c.EndSession):
                if effect.peer in self.peers:
                    self.dismissed.append(effect.peer)
                    self.leave(self.peers[effect.peer], effect.reason)
            elif isinstance(effect, c.DeleteObjects):
                self.deleted += effect.keys
            elif isinstance(effect, c.DeleteOwner):
                self.deleted_owners.append(effect.owner)
            elif isinstance(effect, c.Stop):
                self.stopped = effect.reason

    def warnings(self):
        return [text for level, text in self.logs if level >= 30]


class Effects:
    """What was sent, in order, until somebody has looked at it."""

    def __init__(self):
        self._sent = []

    def append(self, peer, message):
        self._sent.append((peer, message))

    def take(self, kind=None):
        """Return the messages of a kind, or all, and forget these."""
        taken = [message for _, message in self._sent if kind is None or isinstance(message, kind)]
        self._sent = [pair for pair in self._sent if not (kind is None or isinstance(pair[1], kind))]
        return taken

    def pairs(self):
        """Return (peer, message) and forget them."""
        sent, self._sent = self._sent, []
        return sent

    def kinds(self):
        """Return how many messages of each kind, and forget them."""
        return Counter(type(message).__name__ for message in self.take())

    def assert_empty(self):
        assert not self._sent, f"sent besides: {self._sent}"


@dataclass(eq=False)
class FakePeer:
    bench: Bench
    peer: bytes

    def say(self, message):
        self.bench.say(self.peer, message)

    def leave(self, reason="it said so"):
        self.bench.leave(self, reason)

    def vanish(self):
        self.bench.leave(self, "silent for 60 seconds", orderly=False)

    def on_message(self, message):
        """Most messages need no answer."""


@dataclass(eq=False)
class FakeClient(FakePeer):
    """`outcomes` has a list for every (batch, task): one entry where all is right."""

    batch_ids: count = field(default_factory=lambda: count(1))
    defined: set = field(default_factory=set)
    outcomes: dict = field(default_factory=dict)
    texts: dict = field(default_factory=dict)
    notices: list = field(default_factory=list)
    told: list = field(default_factory=list)

    def define(self, function="f"):
        self.defined.add(function)
        self.say(m.DefineFunction(function_id(function), function, function.encode()))

    def forget(self, *functions):
        self.defined -= set(functions)
        self.say(m.ForgetFunctions([function_id(function) for function in functions]))

    def submit(self, tasks=1, function="f", *, batch_id=None, **fields):
        """Submit a batch, its function first if need be; return its id."""
        if function not in self.defined:
            self.define(function)
        batch = submission(next(self.batch_ids) if batch_id is None else batch_id, tasks, function, **fields)
        self.say(batch)
        return batch.batch_id

    def cancel(self, batch_id, start=0, tasks=1):
        self.say(m.CancelTasks(batch_id, column(U32, [start]), column(U32, [tasks])))

    def abandon(self, *batch_ids):
        self.say(m.AbandonBatches(list(batch_ids)))

    def on_message(self, message):
        if isinstance(message, m.Notice):
            self.notices.append(message)
        elif isinstance(message, m.TaskResults):
            text = message.payload.decode()
            for start, number, status in zip(
                numbers(U32, message.starts), numbers(U32, message.counts), message.statuses, strict=True
            ):
                for task in range(start, start + number):
                    self.outcomes.setdefault((message.batch_id, task), []).append(Status(status))
                    self.texts[message.batch_id, task] = text
        else:
            self.told.append(message)

    def statuses(self, batch_id):
        """Return the outcomes of a batch, in the order of its tasks; fails where a task has two."""
        assert all(len(outcomes) == 1 for outcomes in self.outcomes.values()), self.outcomes
        return [outcomes[0] for (batch, _), outcomes in sorted(self.outcomes.items()) if batch == batch_id]


@dataclass(eq=False)
class FakeHost(FakePeer):
    entries: dict = field(default_factory=dict)
    end_tasks: list = field(default_factory=list)
    drained: list = field(default_factory=list)
    lends: list = field(default_factory=list)
    ended_helpers: list = field(default_factory=list)
    suspended: list = field(default_factory=list)

    def report(self, **states):
        """Report all workers, with a new state for some."""
        for worker_id, state in states.items():
            self.entries[worker_id].state = state
        self.say(m.HostReport([m.WorkerReport(**fields(entry)) for entry in self.entries.values()]))

    def on_message(self, message):
        if isinstance(message, m.EndTask):
            self.end_tasks.append(message)
        elif isinstance(message, m.WorkersDrained):
            self.drained += message.worker_ids
        elif isinstance(message, m.LendSlot):
            self.lends.append(message)
        elif isinstance(message, m.EndHelpers):
            self.ended_helpers += message.helper_ids
        elif isinstance(message, m.SuspendWorker):
            self.suspended.append((message.worker_id, message.suspended))


@dataclass(eq=False)
class FakeWorker(FakePeer):
    """`slices` has [assignment, next, stop] by id, in the order of assigning: what a real worker would still do."""

    host: FakeHost
    worker_id: str
    incarnation: int = 1
    slices: dict = field(default_factory=dict)
    made: dict = field(default_factory=dict)
    """By slice, how its tasks have ended."""
    recalls: list = field(default_factory=list)
    forgotten: list = field(default_factory=list)
    told: list = field(default_factory=list)

    def hello(self, *, group="", queue_size=1000, capabilities=None, lender=None, suspends=False, held=()):
        self.group, self.queue_size, self.capabilities = group, queue_size, capabilities or {}
        self.lender, self.suspends = lender, suspends
        if lender is not None:
            self.capabilities = lender.capabilities
        self.host.entries[self.worker_id] = m.WorkerReport(self.worker_id, group, self.incarnation, 1, "running")
        self.say(
            m.WorkerHello(
                self.worker_id,
                self.incarnation,
                self.host.peer,
                group,
                queue_size,
                1,
                dict(self.capabilities),
                "" if lender is None else lender.worker_id,
                suspends,
                list(held),
            )
        )

    @property
    def held(self):
        """How many tasks it has."""
        return sum(stop - start for _, start, stop in self.slices.values())

    @property
    def spans(self):
        """Return (client, batch, next, stop) of each slice."""
        return [(a.client_id.decode(), a.batch_id, start, stop) for a, start, stop in self.slices.values()]

    def running(self):
        """Return the slice and task it runs, (0, 0) for none."""
        for slice_id, (_, start, _) in self.slices.items():
            return slice_id, start
        return 0, 0

    def complete(self, tasks=1, *, seconds=0.001, status=Status.VALUE):
        """Answer the next tasks of its first slice, one run each."""
        slice_id, (assign, start, _) = next(iter(self.slices.items()))
        made = self.made.setdefault(slice_id, {})
        for task in range(start, start + tasks):
            made[task] = _lost(assign, task, made) or status
        statuses = [made[task] for task in range(start, start + tasks)]
        message = results(slice_id, assign.client_id, assign.batch_id, start, tasks, seconds=seconds, status=statuses)
        self._advance(slice_id, start + tasks)
        self.say(message)

    def complete_all(self, *, seconds=0.001):
        """Work until nothing is left, for as long as it gets more."""
        while self.slices:
            _, start, stop = next(iter(self.slices.values()))
            self.complete(stop - start, seconds=seconds)

    def give_back(self, *, begun=True):
        """Answer the oldest recall as a real worker does; not `begun`: it runs nothing at the moment."""
        recall = self.recalls.pop(0)
        ids, limits = list(numbers(U64, recall.slice_ids)), list(numbers(U32, recall.limits))
        answers = []
        for slice_id, limit in zip(ids, limits, strict=True):
            if slice_id not in self.slices:
                answers.append(limit)
                continue
            _, start, stop = self.slices[slice_id]
            is_running = begun and slice_id == self.running()[0]
            answers.append(min(stop, max(limit, start + is_running)))
        for slice_id, limit in zip(ids, answers, strict=True):
            if slice_id in self.slices:
                self.slices[slice_id][2] = min(limit, self.slices[slice_id][2])
                self._advance(slice_id, self.slices[slice_id][1])
        self.say(m.SlicesReturned(column(U64, ids), column(U32, answers)))

    def end(self, cause="signal", code=int(signal.SIGKILL), *, idle=False, hello=True, detail="it ended"):
        """Let the process end, have the host say so, and let the next process greet."""
        slice_id, task = (0, 0) if idle else self.running()
        ended = m.ProcessEnded(self.worker_id, self.incarnation, cause, code, slice_id, task, hello, detail)
        self.slices.clear()
        self.recalls.clear()
        self.host.say(ended)
        if hello:
            self.incarnation += 1
            again = {"group": self.group, "queue_size": self.queue_size, "capabilities": self.capabilities}
            self.hello(**again, suspends=self.suspends)
        else:
            del self.host.entries[self.worker_id]

    def on_message(self, message):
        if isinstance(message, m.AssignSlice):
            check_slice(message)
            self.slices[message.slice_id] = [message, message.start, message.stop]
        elif isinstance(message, m.RecallSlices):
            self.recalls.append(message)
        elif isinstance(message, m.ForgetFunctions):
            self.forgotten += message.function_ids
        else:
            self.told.append(message)

    def _advance(self, slice_id, task):
        self.slices[slice_id][1] = task
        if task == self.slices[slice_id][2]:
            del self.slices[slice_id]


@dataclass(eq=False)
class FakeAdapter(FakePeer):
    """`groups` are reported as they stand here."""

    max_groups: int = 4
    workers_per_group: int = 1
    capabilities: dict = field(default_factory=dict)
    groups: dict = field(default_factory=dict)
    commands: list = field(default_factory=list)
    revision: int = 0
    told: list = field(default_factory=list)

    def report(self, *statuses):
        self.say(
            m.AdapterReport(
                name=self.peer.decode(),
                revision=self.revision,
                max_worker_groups=self.max_groups,
                workers_per_group=self.workers_per_group,
                capabilities=dict(self.capabilities),
                groups=[m.GroupReport(**fields(group)) for group in self.groups.values()],
                statuses=list(statuses),
            )
        )

    @property
    def wanted(self):
        """The ids that the last command wants to exist."""
        return [spec.group_id for spec in self.commands[-1].groups] if self.commands else []

    @property
    def stop(self):
        """The ids that the last command wants to go."""
        return list(self.commands[-1].stop) if self.commands else []

    def obey(self, state="ready"):
        """Do what the last command wants, and report."""
        command = self.commands[-1]
        self.revision = command.revision
        for spec in command.groups:
            entry = m.GroupReport(spec.group_id, state, "", [], spec.capabilities)
            self.groups.setdefault(spec.group_id, entry)
        for group_id in command.stop:
            self.groups.pop(group_id, None)
        self.report()

    def set(self, group_id, state, reason=""):
        entry = m.GroupReport(group_id, state, reason, [], dict(self.capabilities))
        self.groups[group_id] = entry
        self.report()

    def on_message(self, message):
        if isinstance(message, m.AdapterCommand):
            self.commands.append(message)
        else:
            self.told.append(message)


def learn(bench, client, worker, seconds, function="f"):
    """Let the core know how long tasks of a function take."""
    client.submit(1, function)
    worker.complete(seconds=seconds)
    bench.effects.take()


def fields(record):
    return {name: getattr(record, name) for name in record.__slots__}


def register(role, peer):
    return m.Register(role, peer, b"s" * 16, "scaler", 1, "3.11", peer.decode(), "here", 1, b"", 0)


def function_id(name):
    return name.encode().ljust(16, b".")


def submission(batch_id, tasks=1, function="f", *, blocks=None, finished=(), needs=None, **fields):
    """Return a batch; `blocks` are the numbers of tasks of its blocks, one block a task if not given.

    `needs` has a list of (batch, task) for each task: the results that it waits for.
    """
    counts = list(blocks or [1] * (tasks if needs is None else len(needs)))
    if needs is not None:
        edges = [edge for edges in needs for edge in edges]
        fields["dependency_counts"] = column(U32, [len(edges) for edges in needs])
        fields["dependency_batches"] = column(U64, [batch for batch, _ in edges])
        fields["dependency_tasks"] = column(U32, [task for _, task in edges])
    payload = b"".join(f"{batch_id}.{index};".encode() for index in range(len(counts)))
    sizes = [len(f"{batch_id}.{index};") for index in range(len(counts))]
    return m.SubmitBatch(
        batch_id=batch_id,
        function_id=function_id(function),
        count=sum(counts),
        encoding=Encoding.VALUES if needs is None else Encoding.LINKED,
        block_counts=column(U32, counts),
        block_sizes=column(U32, sizes),
        payload=payload,
        finished=column(U32, list(finished)),
        **fields,
    )


def _lost(assigned, task, made):
    """Return how a task ends that needs one of its slice that has ended without a result."""
    needed = inputs(assigned)[task - assigned.first] if assigned.dependency_counts else []
    ends = [made.get(position, Status.VALUE) for status, position, _ in needed if status == MADE_HERE]
    return next((status for status in ends if status not in RESULTS), None)


def inputs(assigned):
    """Return the results that came along with a slice: for each task (status, position, bytes) of each."""
    runs = zip(
        assigned.dependency_statuses,
        numbers(U32, assigned.dependency_positions),
        map(bytes, awaited_runs(assigned)),
        strict=True,
    )
    return [list(islice(runs, count)) for count in numbers(U32, assigned.dependency_counts)]


def stored_key(task):
    """Return where a fake worker says that it has stored the result of a task."""
    return b"key of %d" % task


def results(slice_id, client_id, batch_id, start, tasks, *, seconds=0.001, status=Status.VALUE):
    """Return results for tasks [start, start + tasks), each with its own payload; a status for all, or for each."""
    statuses = [status] * tasks if isinstance(status, int) else status
    payloads = [
        pack_stored(1 << 20, stored_key(task)) if each == Status.STORED else str(task).encode()
        for task, each in enumerate(statuses, start)
    ]
    return m.TaskResults(
        slice_id=slice_id,
        client_id=client_id,
        batch_id=batch_id,
        starts=column(U32, range(start, start + tasks)),
        counts=column(U32, [1] * tasks),
        statuses=column(U8, statuses),
        sizes=column(U32, [len(payload) for payload in payloads]),
        durations=column(F64, [seconds] * tasks),
        payload=b"".join(payloads),
    )
