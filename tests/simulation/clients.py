"""Clients that submit, cancel, and say everything again to a scheduler that knows nothing."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from scaler_protocol import messages as m
from scaler_protocol.batch import RESULTS, U32, U64, Encoding, Status, column, numbers
from scaler_runtime.session import Up
from tests.simulation.network import Peer, Server
from tests.simulation.world import World

_DURATIONS = (0.0005, 0.02, 0.5, 3.0)
_NESTED_SHARE = 0.15
_DEPENDENT_SHARE = 0.3


Task = tuple[int, int]
"""The numbers of a batch and of a task in it."""


@dataclass(slots=True, eq=False)
class Submitted:
    """A batch, and the outcomes of its tasks so far."""

    message: m.SubmitBatch
    outcomes: dict[int, Status] = field(default_factory=dict[int, Status])
    cancelled: set[int] = field(default_factory=set[int])
    """Tasks whose end was asked for, and those that waited for one that has ended so."""
    needs: list[list[Task]] = field(default_factory=list[list[Task]])
    """For each task those whose results it waits for; empty if none waits."""

    @property
    def is_finished(self) -> bool:
        """Whether every task has an outcome."""
        return len(self.outcomes) == self.message.count


class Client(Peer):
    """Says what it wants at times of its own until `is_busy` is over."""

    role = "client"

    def __init__(self, world: World, server: Server, name: str) -> None:
        super().__init__(world, server, name)
        self.batches: dict[int, Submitted] = {}
        self.doubled: list[str] = []
        self.is_busy = True
        self._ids = count(1)
        world.at(world.rng.random(), self._live)

    @property
    def is_finished(self) -> bool:
        """Whether everything has an outcome."""
        return all(batch.is_finished for batch in self.batches.values())

    def on_up(self, up: Up) -> None:
        """Say everything again that is not finished, if nobody knows of it."""
        if up.fresh:
            for name in "abcde":
                self.send(m.DefineFunction(name.encode() * 16, name, b"code"))
            for batch in self.batches.values():
                self._say(batch)

    def on_message(self, message: m.Message) -> None:
        """Note outcomes."""
        if not isinstance(message, m.TaskResults):
            return
        batch = self.batches[message.batch_id]
        columns = zip(numbers(U32, message.starts), numbers(U32, message.counts), message.statuses, strict=True)
        is_early = False
        for start, number, status in columns:
            if status == Status.DEPENDENCY_OVER:
                is_early = True
                continue
            for task in range(start, start + number):
                self._note(batch, task, Status(status))
        if is_early:
            self._say(batch)

    def _note(self, batch: Submitted, task: int, status: Status) -> None:
        number = batch.message.batch_id
        if task in batch.outcomes:
            self.doubled.append(f"{self.name}: task {task} of batch {number} has two outcomes")
        batch.outcomes[task] = status
        lost = self._lost(batch, task)
        if lost is not None and status in RESULTS:
            self.doubled.append(f"{self.name}: task {task} of batch {number} has run without what it needs")
        if lost == Status.CANCELLED:
            batch.cancelled.add(task)

    def _lost(self, batch: Submitted, task: int) -> Status | None:
        """Return how a task ended that this one needs, if one did so without a result."""
        ends = (self.batches[number].outcomes.get(other) for number, other in (batch.needs or {task: ()})[task])
        return next((status for status in ends if status is not None and status not in RESULTS), None)

    def _say(self, batch: Submitted) -> None:
        """Submit a batch, or what is left of it: what it needs goes along where it is there, or its task ends."""
        message = batch.message
        for task in range(message.count):
            lost = self._lost(batch, task)
            if lost is not None and task not in batch.outcomes:
                self._note(batch, task, lost)
        if batch.is_finished:
            return
        message.finished = column(U32, ranges(batch.outcomes))
        if batch.needs:
            left = [
                [(number, other) for number, other in needs if other not in self.batches[number].outcomes]
                if task not in batch.outcomes
                else []
                for task, needs in enumerate(batch.needs)
            ]
            edges = [edge for needs in left for edge in needs]
            message.dependency_counts = column(U32, list(map(len, left))) if edges else b""
            message.dependency_batches = column(U64, [number for number, _ in edges])
            message.dependency_tasks = column(U32, [task for _, task in edges])
        self.send(message)
        for task in sorted(batch.cancelled - set(batch.outcomes)):
            self._cancel(batch, task)

    def _live(self) -> None:
        """Do something, and again later."""
        if not (self.is_alive and self.is_busy):
            return
        rng = self.world.rng
        if self.session.instance_id and rng.random() < 0.8:
            self._submit()
        unfinished = [batch for batch in self.batches.values() if not batch.is_finished]
        if unfinished and rng.random() < 0.2:
            batch = rng.choice(unfinished)
            task = rng.randrange(batch.message.count)
            batch.cancelled.add(task)
            self._cancel(batch, task)
        if self.world.happens(self.world.faults.client_crash_rate, 3.0):
            self.world.log(f"{self.name} crashes")
            self.kill()
        self.world.at(rng.random() * 6.0, self._live)

    def _submit(self) -> None:
        rng = self.world.rng
        if rng.random() < _NESTED_SHARE:
            message = submission(next(self._ids), "e", rng.choice([1, 2, 3]), float(-rng.choice([1, 2, 3])))
            self._submit_batch(message, "nested tasks")
            return
        kind = rng.choices(range(len(_DURATIONS)), weights=(4, 3, 2, 1))[0]
        number = rng.choice([1, 1, 5, 30]) if kind < 2 else rng.choice([1, 2, 5])
        message = submission(next(self._ids), "abcd"[kind], number, _DURATIONS[kind], priority=rng.choice([0, 0, 0, 1]))
        needs = self._draw_needs(message) if rng.random() < _DEPENDENT_SHARE else []
        self._submit_batch(message, f"tasks of {_DURATIONS[kind]} s{', which wait for others' if needs else ''}", needs)

    def _draw_needs(self, message: m.SubmitBatch) -> list[list[Task]]:
        """Choose what the tasks of a batch wait for: any of this client's tasks before, or the task before each."""
        rng = self.world.rng
        message.encoding = Encoding.LINKED
        is_chain = rng.random() < 0.5
        recent = [
            (number, task) for number, batch in list(self.batches.items())[-5:] for task in range(batch.message.count)
        ]
        needs: list[list[Task]] = []
        for task in range(message.count):
            known = [*recent, *((message.batch_id, before) for before in range(task))]
            if is_chain and task:
                needs.append([(message.batch_id, task - 1)])
            else:
                needs.append([rng.choice(known) for _ in range(rng.choice([0, 1, 2]))] if known else [])
        return needs

    def _submit_batch(self, message: m.SubmitBatch, what: str, needs: Iterable[list[Task]] = ()) -> None:
        self.world.log(f"{self.name} submits batch {message.batch_id}: {message.count} {what}")
        self.batches[message.batch_id] = batch = Submitted(message, needs=list(needs))
        self._say(batch)

    def _cancel(self, batch: Submitted, task: int) -> None:
        self.send(m.CancelTasks(batch.message.batch_id, column(U32, [task]), column(U32, [1])))


def submission(batch_id: int, function: str, tasks: int, seconds: float, *, priority: int = 0) -> m.SubmitBatch:
    """Return a batch of tasks that take so long each."""
    blocks = [f"{seconds} ".encode()] * tasks
    return m.SubmitBatch(
        batch_id=batch_id,
        function_id=function.encode() * 16,
        count=tasks,
        encoding=Encoding.CALL,
        block_counts=column(U32, [1] * tasks),
        block_sizes=column(U32, [len(block) for block in blocks]),
        payload=b"".join(blocks),
        priority=priority,
    )


def ranges(tasks: Iterable[int]) -> list[int]:
    """Return pairs of start and stop."""
    edges: list[int] = []
    for task in sorted(tasks):
        if edges and edges[-1] == task:
            edges[-1] = task + 1
        else:
            edges += [task, task + 1]
    return edges
