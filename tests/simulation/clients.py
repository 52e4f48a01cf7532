"""Clients that submit, cancel, and say everything again to a scheduler that knows nothing."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from scaler_protocol import messages as m
from scaler_protocol.batch import U32, Encoding, Status, column, numbers
from scaler_runtime.session import Up
from tests.simulation.network import Peer, Server
from tests.simulation.world import World

_DURATIONS = (0.0005, 0.02, 0.5, 3.0)
_NESTED_SHARE = 0.15


@dataclass(slots=True, eq=False)
class Submitted:
    """A batch, and the outcomes of its tasks so far."""

    message: m.SubmitBatch
    outcomes: dict[int, Status] = field(default_factory=dict[int, Status])
    cancelled: set[int] = field(default_factory=set[int])

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
                if not batch.is_finished:
                    batch.message.finished = column(U32, ranges(batch.outcomes))
                    self.send(batch.message)
                    for task in sorted(batch.cancelled - set(batch.outcomes)):
                        self._cancel(batch, task)

    def on_message(self, message: m.Message) -> None:
        """Note outcomes."""
        if not isinstance(message, m.TaskResults):
            return
        batch = self.batches[message.batch_id]
        columns = zip(numbers(U32, message.starts), numbers(U32, message.counts), message.statuses, strict=True)
        for start, number, status in columns:
            for task in range(start, start + number):
                if task in batch.outcomes:
                    self.doubled.append(f"{self.name}: task {task} of batch {message.batch_id} has two outcomes")
                batch.outcomes[task] = Status(status)

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
        self._submit_batch(message, f"tasks of {_DURATIONS[kind]} s")

    def _submit_batch(self, message: m.SubmitBatch, what: str) -> None:
        self.world.log(f"{self.name} submits batch {message.batch_id}: {message.count} {what}")
        self.batches[message.batch_id] = Submitted(message)
        self.send(message)

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
