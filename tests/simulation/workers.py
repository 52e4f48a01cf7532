"""Hosts and workers that pretend to work: a task is a number of seconds in its arguments."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from scaler_protocol import messages as m
from scaler_protocol.batch import F64, U8, U32, U64, Status, column, numbers
from scaler_protocol.identifiers import root_of
from scaler_runtime.session import Up
from scaler_worker.held import held_slices
from tests.simulation.nested import NestedClient
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
        self.stops: set[str] = set()
        """Why it is stopped."""
        self.nested: NestedClient | None = None
        """Of the running task, while that waits."""
        self._orders = 0
        self._held_up: list[Callable[[], None]] = []

    def on_up(self, up: Up) -> None:
        """Greet; a scheduler that knows nothing is told what runs, and what has ended unheard."""
        if up.fresh:
            running = self._keep_running()
            unheard = [message for message in up.unheard if isinstance(message, m.TaskResults)]
            answered = (0, 0) if running is None else (running.assigned.slice_id, running.next)
            slot = self.slot
            self.send(
                m.WorkerHello(
                    slot.worker_id,
                    slot.incarnation,
                    self.host.peer,
                    self.host.group_id,
                    1 if slot.lender else 1000,
                    1,
                    dict(self.host.capabilities),
                    slot.lender,
                    self.host.suspends,
                    held_slices(unheard, running, answered),
                )
            )
            for message in unheard:
                self.send(message)

    def _keep_running(self) -> Piece | None:
        """Forget everything that has not begun."""
        running = self.running
        if running is None or self.pieces.get(running.assigned.slice_id) is not running:
            self.pieces.clear()
            return None
        running.limit = running.claimed
        self.pieces = {running.assigned.slice_id: running}
        return running

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

    @property
    def is_stopped(self) -> bool:
        """Whether it does nothing."""
        return bool(self.stops)

    def go_on(self, reason: str) -> None:
        """Continue, if there is no other reason to be stopped."""
        self.stops.discard(reason)
        if self.stops or not self.is_alive:
            return
        held_up, self._held_up = self._held_up, []
        for action in held_up:
            action()
        if self.nested is not None:
            self.nested.look()

    def kill(self, farewell: str = "") -> None:
        """End, and the client inside with it."""
        if self.nested is not None:
            self.nested.kill()
        super().kill(farewell)

    @property
    def task(self) -> tuple[int, int]:
        """Return the slice and task that run, (0, 0) for none: the process's record."""
        piece = self.running
        if piece is None or self.pieces.get(piece.assigned.slice_id) is not piece:
            return 0, 0
        return piece.assigned.slice_id, piece.claimed - 1

    def _take(self, assigned: m.AssignSlice) -> None:
        blocks = assigned.payload[: sum(numbers(U32, assigned.block_sizes))]  # results that tasks waited for follow
        durations = [float(text) for text in blocks.decode().split()]
        skipped = assigned.start - assigned.first
        self._orders += 1
        piece = Piece(assigned, durations[skipped:], assigned.start, assigned.stop, self._orders)
        self.pieces[assigned.slice_id] = piece
        if self.running is None:
            self._begin()

    def _begin(self) -> None:
        """Begin the next tasks: of the slice that was begun, else of the first of the highest priority."""
        piece = self.running
        if piece is None or self.pieces.get(piece.assigned.slice_id) is not piece:
            waiting = self.pieces.values()
            piece = min(waiting, key=lambda one: (-one.assigned.priority, one.order), default=None)
        self.running = piece
        if piece is None:
            return
        seconds, stop = 0.0, piece.next
        depth = -piece.durations[stop - piece.assigned.start]
        if depth > 0:
            self._nest(piece, int(depth))
            return
        while stop < piece.limit and (stop == piece.next or seconds < _CHUNK_SECONDS):
            seconds += piece.durations[stop - piece.assigned.start]
            stop += 1
        piece.claimed = stop
        self.world.at(seconds, partial(self._finish, piece, seconds))

    def _nest(self, piece: Piece, depth: int) -> None:
        """Begin a task that has tasks of its own and waits for them."""
        piece.claimed = piece.next + 1
        begun = self.world.now

        def done() -> None:
            self.nested = None
            self._finish(piece, self.world.now - begun)

        self.nested = NestedClient(
            self.world,
            self.server,
            (self.slot.worker_id, self.slot.incarnation),
            f"client in {self.name}",
            depth,
            piece.assigned.priority + 1,
            lambda: self.is_stopped,
            done,
        )

    def _finish(self, piece: Piece, seconds: float) -> None:
        if self.is_stopped:
            self._held_up.append(partial(self._finish, piece, seconds))
            return
        if not self.is_alive:
            return
        assigned = piece.assigned
        if self.pieces.get(assigned.slice_id) is piece:  # another scheduler gives the same numbers again
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
    lender: str = ""
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
        self.suspends = world.chance(0.5)
        self.helpers: dict[str, Slot] = {}
        self.most_helpers = 0
        """Of one worker at one moment."""
        self._on_ended = on_ended
        self.slots = {worker_id: Slot(worker_id) for worker_id in worker_ids}
        for slot in self.slots.values():
            self._start(slot)
        world.at(1.0, self._live)

    def on_up(self, up: Up) -> None:
        """Report."""
        self._report()

    def disconnect(self) -> None:
        """Lose the connection, and with it what the scheduler knows of stopped processes."""
        super().disconnect()
        for slot in self.all_slots:
            if slot.process is not None:
                slot.process.go_on("lent")

    @property
    def all_slots(self) -> list[Slot]:
        """Return workers and helpers."""
        return [*self.slots.values(), *self.helpers.values()]

    def _find(self, worker_id: str, incarnation: int) -> Worker | None:
        slot = self.slots.get(worker_id) or self.helpers.get(worker_id)
        return None if slot is None or slot.incarnation != incarnation else slot.process

    def _lend(self, lend: m.LendSlot) -> None:
        if self._find(lend.worker_id, lend.incarnation) is None:
            self.send(m.ProcessEnded(lend.helper_id, 1, "planned", 0, 0, 0, replaced=False, detail="it has ended"))
            return
        slot = self.helpers[lend.helper_id] = Slot(lend.helper_id, lend.worker_id)
        root = root_of(lend.helper_id)
        self.most_helpers = max(self.most_helpers, sum(root_of(helper) == root for helper in self.helpers))
        self._start(slot)

    def on_message(self, message: m.Message) -> None:
        """Obey."""
        if isinstance(message, m.EndTask):
            self._end_task(message)
        elif isinstance(message, m.LendSlot):
            self._lend(message)
        elif isinstance(message, m.EndHelpers):
            self._end_slots([self.helpers[one] for one in message.helper_ids if one in self.helpers])
        elif isinstance(message, m.SuspendWorker):
            self._suspend(message)
        elif isinstance(message, m.WorkersDrained) and self.is_draining:
            self._end_slots([self.slots[one] for one in message.worker_ids if one in self.slots])

    def _end_task(self, end: m.EndTask) -> None:
        process = self._find(end.worker_id, end.incarnation)
        if process is not None:
            slice_id, task = process.task
            if slice_id and slice_id == end.slice_id and end.task in {task, m.ANY_TASK}:
                self.world.at(_KILL_SECONDS, partial(self._end_cancelled, process, (slice_id, task)))

    def _end_slots(self, slots: list[Slot]) -> None:
        for slot in slots:
            if slot.process is not None:
                self._end(slot.process, "planned", signal.SIGTERM)

    def _suspend(self, suspend: m.SuspendWorker) -> None:
        process = self._find(suspend.worker_id, suspend.incarnation)
        if process is not None and suspend.suspended:
            process.stops.add("lent")
        elif process is not None:
            process.go_on("lent")

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
        for slot in reversed(self.all_slots):
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
        for slot in self.all_slots:
            process = slot.process
            if process is None or not process.is_alive:
                continue
            if self.world.happens(self.world.faults.worker_kill_rate, 1.0):
                self._end(process, "signal", signal.SIGKILL)
            elif not process.is_stopped and self.world.happens(self.world.faults.worker_stop_rate, 1.0):
                process.stops.add("fault")
                self.world.at(self.world.rng.random() * 12.0, partial(self._continue, process))
        if self.is_alive:
            self._report()
            self.world.at(1.0, self._live)

    def _continue(self, process: Worker) -> None:
        if process.is_alive:
            process.go_on("fault")
            self._report()

    def _start(self, slot: Slot) -> None:
        slot.incarnation += 1
        incarnation = slot.incarnation

        def start() -> None:
            is_wanted = slot in self.helpers.values() if slot.lender else not self.is_draining
            if self.is_alive and slot.incarnation == incarnation and is_wanted:
                slot.process = Worker(self.world, self.server, self, slot)
                self._report()

        self.world.at(_START_SECONDS, start)

    def _end_cancelled(self, process: Worker, task: tuple[int, int]) -> None:
        """Its time to end by itself is over. By now it may run another task, which must not suffer for it."""
        cause = "cancelled" if process.task == task else "planned"
        self._end(process, cause, signal.SIGTERM, replaced=True)

    def _end(self, process: Worker, cause: str, code: int, *, replaced: bool = False) -> None:
        """A process ends; its next comes, unless it was killed from outside or is to go."""
        slot = process.slot
        if not process.is_alive or slot.process is not process:
            return
        slice_id, task = process.task
        replaced = (cause in {"cancelled", "timeout"} or replaced) and not self.is_draining and not slot.lender
        self.world.log(f"{process.name} ends: {cause} {int(code)}")
        process.kill("it exits" if cause == "exit" else "")
        slot.process = None
        self.send(m.ProcessEnded(slot.worker_id, slot.incarnation, cause, int(code), slice_id, task, replaced, cause))
        if replaced:
            self._start(slot)
            return
        if slot.lender:
            del self.helpers[slot.worker_id]
            self._report()
            return
        del self.slots[slot.worker_id]
        for helper in [helper for key, helper in self.helpers.items() if root_of(key) == slot.worker_id]:
            if helper.process is None:
                del self.helpers[helper.worker_id]
            else:
                self._end(helper.process, "planned", signal.SIGTERM)
        self._report()
        if not self.slots:
            self._on_ended()

    def _report(self) -> None:
        self.send(
            m.HostReport(
                [
                    m.WorkerReport(slot.worker_id, self.group_id, slot.incarnation, 1, self._state(slot))
                    for slot in self.all_slots
                ]
            )
        )

    def _state(self, slot: Slot) -> str:
        if self.is_draining and not slot.lender:
            return "draining"
        if slot.process is None:
            return "starting"
        return "stopped" if "fault" in slot.process.stops else "running"
