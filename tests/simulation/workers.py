"""Hosts and workers that pretend to work: a task is a number of seconds in its arguments."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from scaler_protocol import messages as m
from scaler_protocol.batch import F64, U8, U32, U64, Status, column, numbers
from scaler_runtime.session import Up
from tests.simulation.network import Peer, Server
from tests.simulation.world import World

_CHUNK_SECONDS = 0.01
"""Short tasks are begun together, as many as take so long."""
_START_SECONDS = 0.02
_KILL_SECONDS = 0.05
_DRAIN_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class Piece:
    """A slice: tasks [next, limit) are to be run, those before `claimed` have begun."""

    assigned: m.AssignSlice
    durations: list[float]
    next: int
    limit: int
    order: int
    claimed: int = 0


class Worker(Peer):
    """A worker's process."""

    role = "worker"

    def __init__(self, world: World, server: Server, host: "Host", slot: "Slot") -> None:
        super().__init__(world, server, f"{slot.worker_id}/{slot.incarnation}")
        self.host = host
        self.slot = slot
        self.pieces: dict[int, Piece] = {}
        self.running: Piece | None = None
        self.is_stopped = False
        self._orders = 0
        self._held_up: list[Callable[[], None]] = []

    def on_up(self, up: Up) -> None:
        """Greet; a scheduler that knows nothing wants nothing of what was begun."""
        if up.fresh:
            self.pieces.clear()
            slot = self.slot
            self.send(
                m.WorkerHello(
                    slot.worker_id,
                    slot.incarnation,
                    self.host.peer,
                    self.host.group_id,
                    1000,
                    1,
                    dict(self.host.capabilities),
                )
            )

    def on_message(self, message: m.Message) -> None:
        """Obey."""
        if self.is_stopped:
            self._held_up.append(partial(self.on_message, message))
        elif isinstance(message, m.AssignSlice):
            self._take(message)
        elif isinstance(message, m.RecallSlices):
            self._recall(message)
        elif isinstance(message, m.Shutdown):
            self.world.log(f"{self.name} is told to end: {message.reason}")
            self.host.on_exit(self)

    def go_on(self) -> None:
        """Continue after a stop."""
        self.is_stopped = False
        held_up, self._held_up = self._held_up, []
        for action in held_up:
            action()

    @property
    def task(self) -> tuple[int, int]:
        """Return the slice and task that run, (0, 0) for none: the process's record."""
        piece = self.running
        if piece is None or piece.assigned.slice_id not in self.pieces:
            return 0, 0
        return piece.assigned.slice_id, piece.claimed - 1

    def _take(self, assigned: m.AssignSlice) -> None:
        durations = [float(text) for text in assigned.payload.decode().split()]
        skipped = assigned.start - assigned.first
        self._orders += 1
        piece = Piece(assigned, durations[skipped:], assigned.start, assigned.stop, self._orders)
        self.pieces[assigned.slice_id] = piece
        if self.running is None:
            self._begin()

    def _begin(self) -> None:
        """Begin the next tasks: of the slice that was begun, else of the first of the highest priority."""
        piece = self.running
        if piece is None or piece.assigned.slice_id not in self.pieces:
            waiting = self.pieces.values()
            piece = min(waiting, key=lambda one: (-one.assigned.priority, one.order), default=None)
        self.running = piece
        if piece is None:
            return
        seconds, stop = 0.0, piece.next
        while stop < piece.limit and (stop == piece.next or seconds < _CHUNK_SECONDS):
            seconds += piece.durations[stop - piece.assigned.start]
            stop += 1
        piece.claimed = stop
        self.world.at(seconds, partial(self._finish, piece, seconds))

    def _finish(self, piece: Piece, seconds: float) -> None:
        if self.is_stopped:
            self._held_up.append(partial(self._finish, piece, seconds))
            return
        if not self.is_alive:
            return
        assigned = piece.assigned
        if assigned.slice_id in self.pieces:
            start, count = piece.next, piece.claimed - piece.next
            piece.next = piece.claimed
            if piece.next >= piece.limit:
                del self.pieces[assigned.slice_id]
            payloads = [b"r"] * count
            self.send(
                m.TaskResults(
                    slice_id=assigned.slice_id,
                    client_id=assigned.client_id,
                    batch_id=assigned.batch_id,
                    starts=column(U32, [start]),
                    counts=column(U32, [count]),
                    statuses=column(U8, [Status.VALUES]),
                    sizes=column(U32, [len(b"".join(payloads))]),
                    durations=column(F64, [seconds]),
                    payload=b"".join(payloads),
                )
            )
        self._begin()

    def _recall(self, recall: m.RecallSlices) -> None:
        ids: list[int] = []
        limits: list[int] = []
        for slice_id, limit in zip(numbers(U64, recall.slice_ids), numbers(U32, recall.limits), strict=True):
            piece = self.pieces.get(slice_id)
            if piece is None:
                continue
            piece.limit = min(piece.limit, max(limit, piece.claimed, piece.assigned.start))
            if piece.limit <= piece.next:
                del self.pieces[slice_id]
            ids.append(slice_id)
            limits.append(piece.limit)
        if ids:
            self.send(m.SlicesReturned(column(U64, ids), column(U32, limits)))


@dataclass(slots=True, eq=False)
class Slot:
    """A worker that its host owns, with its current process."""

    worker_id: str
    incarnation: int = 0
    process: Worker | None = None


class Host(Peer):
    """A worker host of one unit. `on_ended` is told once none of its workers is left."""

    role = "host"

    def __init__(
        self,
        world: World,
        server: Server,
        group_id: str,
        *,
        worker_ids: tuple[str, ...],
        capabilities: m.Capabilities,
        on_ended: Callable[[], None],
    ) -> None:
        super().__init__(world, server, f"host of {group_id}")
        self.group_id = group_id
        self.capabilities = capabilities
        self.is_draining = False
        self._on_ended = on_ended
        self.slots = {worker_id: Slot(worker_id) for worker_id in worker_ids}
        for slot in self.slots.values():
            self._start(slot)
        world.at(1.0, self._live)

    def on_up(self, up: Up) -> None:
        """Report."""
        self._report()

    def on_message(self, message: m.Message) -> None:
        """Obey."""
        if isinstance(message, m.EndTask):
            slot = self.slots.get(message.worker_id)
            if slot is not None and slot.process is not None and slot.incarnation == message.incarnation:
                slice_id, task = slot.process.task
                if slice_id and slice_id == message.slice_id and message.task in {task, m.ANY_TASK}:
                    self.world.at(_KILL_SECONDS, partial(self._end, slot.process, "cancelled", signal.SIGTERM))
        elif isinstance(message, m.WorkersDrained):
            for worker_id in message.worker_ids if self.is_draining else ():
                slot = self.slots.get(worker_id)
                if slot is not None and slot.process is not None:
                    self._end(slot.process, "planned", signal.SIGTERM)

    def drain(self) -> None:
        """End in order."""
        if not self.is_draining:
            self.is_draining = True
            self._report()
            self.world.at(_DRAIN_SECONDS, lambda: self.die("its time is up"))

    def die(self, farewell: str = "") -> None:
        """End with everything; without a farewell like a machine that loses power."""
        if not self.is_alive:
            return
        for slot in list(self.slots.values()):
            if slot.process is not None:
                if farewell:
                    self._end(slot.process, "planned", signal.SIGTERM)
                else:
                    slot.process.kill()
        if self.is_alive:
            self.kill(farewell)

    def on_exit(self, process: Worker) -> None:
        """A process has ended itself, as the scheduler told it to."""
        self._end(process, "exit", 0)

    def _live(self) -> None:
        """Let a second pass, with its faults."""
        if not self.is_alive:
            return
        for slot in list(self.slots.values()):
            process = slot.process
            if process is None:
                continue
            if self.world.happens(self.world.faults.worker_kill_rate, 1.0):
                self._end(process, "signal", signal.SIGKILL)
            elif not process.is_stopped and self.world.happens(self.world.faults.worker_stop_rate, 1.0):
                process.is_stopped = True
                self.world.at(self.world.rng.random() * 12.0, partial(self._continue, process))
        if self.is_alive:
            self._report()
            self.world.at(1.0, self._live)

    def _continue(self, process: Worker) -> None:
        if process.is_alive:
            process.go_on()
            self._report()

    def _start(self, slot: Slot) -> None:
        slot.incarnation += 1
        incarnation = slot.incarnation

        def start() -> None:
            if self.is_alive and slot.incarnation == incarnation and not self.is_draining:
                slot.process = Worker(self.world, self.server, self, slot)
                self._report()

        self.world.at(_START_SECONDS, start)

    def _end(self, process: Worker, cause: str, code: int) -> None:
        """A process ends; its next comes, unless it was killed from outside or is to go."""
        slot = process.slot
        if not process.is_alive or slot.process is not process:
            return
        slice_id, task = process.task
        replaced = cause in {"cancelled", "timeout"} and not self.is_draining
        self.world.log(f"{process.name} ends: {cause} {int(code)}")
        process.kill("it exits" if cause == "exit" else "")
        slot.process = None
        self.send(m.ProcessEnded(slot.worker_id, slot.incarnation, cause, int(code), slice_id, task, replaced, cause))
        if replaced:
            self._start(slot)
            return
        del self.slots[slot.worker_id]
        self._report()
        if not self.slots:
            self._on_ended()

    def _report(self) -> None:
        self.send(
            m.HostReport(
                [
                    m.WorkerReport(slot.worker_id, self.group_id, slot.incarnation, 1, self._state(slot))
                    for slot in self.slots.values()
                ]
            )
        )

    def _state(self, slot: Slot) -> str:
        if self.is_draining:
            return "draining"
        if slot.process is None:
            return "starting"
        return "stopped" if slot.process.is_stopped else "running"
