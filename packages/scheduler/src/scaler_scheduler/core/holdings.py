"""What workers hold: how much it is, and what is asked back of it."""

from scaler_protocol.batch import U32, U64, column
from scaler_protocol.messages import RecallSlices
from scaler_scheduler.core.balance import Balance
from scaler_scheduler.core.lanes import Lanes
from scaler_scheduler.core.state import Outbox, Slice, State, Worker


class Holdings:
    """See the module."""

    def __init__(self, state: State, out: Outbox, lanes: Lanes, balance: Balance) -> None:
        self._state = state
        self._counts = state.counts
        self._out = out
        self._lanes = lanes
        self._balance = balance

    # ---- workers come, change and go

    def update(self, worker: Worker) -> None:
        """Take note of a worker that has come or whose state has changed."""
        if worker.clients or worker.lender or worker.blocked:
            self._state.restless[worker] = None
        self._lanes.update(worker)
        self._balance.note(worker)

    def give_up(self, worker: Worker) -> list[Slice]:
        """Take everything a worker holds, which the caller makes ready again or fails; the worker stays."""
        held = list(worker.slices.values())
        for piece in held:
            self.end_recall(piece)
            piece.is_held = False
        worker.slices.clear()
        worker.begun = None
        self._counts.worker_disconnecting += worker.outstanding
        worker.outstanding = 0
        worker.load_seconds = 0.0
        self.update(worker)
        return held

    def remove(self, worker: Worker) -> list[Slice]:
        """Forget a worker; return what it held, as `give_up`."""
        held = self.give_up(worker)
        self._lanes.remove(worker)
        self._balance.remove(worker)
        for function in worker.functions:
            del function.workers[worker]
        return held

    def drain(self, worker: Worker) -> None:
        """Give the worker nothing more and take back everything it has not begun."""
        worker.draining = True
        self.update(worker)
        self.recall_all(worker)

    def undrain(self, worker: Worker) -> None:
        """Let the worker take part again."""
        worker.draining = False
        self.update(worker)

    # ---- asking back

    def recall_all(self, worker: Worker) -> None:
        """Ask for everything the worker has not begun."""
        self._ask_back(worker, [(piece, piece.next) for piece in worker.slices.values() if not piece.recalling])

    def recall_rest(self, worker: Worker) -> None:
        """Ask for everything behind the worker's running task that it has not been asked for."""
        if worker.outstanding > 1:
            waiting = (piece for piece in worker.slices.values() if not piece.recalling and piece.limit > piece.next)
            self._ask_back(worker, [(piece, piece.next) for piece in waiting])

    def waiting_above(self, worker: Worker, floor: float, most: int) -> int:
        """Return how many tasks that suit the worker and are of higher priority wait to be run, up to `most`."""
        found, lanes = 0, self._lanes.of(worker)
        for lane in lanes:
            found += lane.ready.above(floor, most)
        if found < most:
            taken = self._lanes.idle()  # their queued tasks go elsewhere
            found += self._balance.queued({lane: floor for lane in lanes if lane not in taken}, most)
        return min(found, most)

    def balance(self, now: float) -> None:
        """Recall queued tasks from busy workers while others have nothing to do, or much less."""
        for donor, limits in self._balance.plans(now, self._lanes):
            self._ask_back(donor, limits)

    def _ask_back(self, worker: Worker, limits: list[tuple[Slice, int]]) -> None:
        self._counts.balance_canceling += sum(piece.stop - limit for piece, limit in limits)
        self.recall(worker, limits)

    def recall(self, worker: Worker, limits: list[tuple[Slice, int]]) -> None:
        """Ask a worker to give slices back, each from a limit on."""
        if not limits:
            return
        for piece, limit in limits:
            piece.recalling = True
            piece.limit = limit
        worker.recalls += len(limits)
        self._balance.recalls += len(limits)
        slice_ids = column(U64, [piece.slice_id for piece, _ in limits])
        self._out.send(worker.peer, RecallSlices(slice_ids, column(U32, [limit for _, limit in limits])))
        self._balance.note(worker)
        if worker.blocked:
            self._state.restless[worker] = None

    def end_recall(self, piece: Slice) -> None:
        """Take note that a slice is not asked for any more, if it was."""
        if piece.recalling:
            piece.recalling = False
            piece.worker.recalls -= 1
            self._balance.recalls -= 1
            if piece.worker.blocked:
                self._state.restless[piece.worker] = None

    def close_slice(self, piece: Slice) -> None:
        """Forget a slice of which a worker holds nothing more."""
        self.end_recall(piece)
        if piece.worker.begun is piece:
            piece.worker.begun = None
        del piece.worker.slices[piece.slice_id]
        del piece.batch.slices[piece.slice_id]

    def change_load(self, worker: Worker, tasks: int, task_seconds: float) -> None:
        """Take note that a worker holds so many tasks more."""
        worker.outstanding += tasks
        worker.load_seconds = max(0.0, worker.load_seconds + tasks * task_seconds) if worker.outstanding else 0.0
        self.update(worker)
