"""The slot of a task that waits for tasks of its own is lent to others, so that any depth of nesting ends.

A worker is *blocked* while its task runs and a client in its process has unfinished tasks. It takes nothing more, and
what is queued behind the task goes elsewhere. Tasks of higher priority that find no other place then run in a *helper*,
a process beside the blocked one, one slice at a time; a helper may be blocked in its turn. The highest unfinished
priority has no children: it always finds a place.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from logging import INFO, WARNING
from math import inf

from scaler_protocol import messages as m
from scaler_protocol.identifiers import helper_id, root_of
from scaler_scheduler.core.dispatch import Dispatch
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.core.state import Client, Outbox, State, Worker

HELPER_IDLE_SECONDS = 10.0
"""A helper that had nothing to do for so long is ended."""

LOOK_SECONDS = 0.02
"""A helper works for so long before its lender is stopped: until then that may submit more, or see what has ended."""

WARY_TASKS = 16
"""After a task that waits for its own, so many of the same function come one at a time."""

RETRY_SECONDS = 1.0
"""After a helper that could not start, another one is asked for so much later."""


@dataclass(slots=True, eq=False)
class Loan:
    """Who uses the slot of a blocked worker, or is there to use it. `helper` is None while it starts."""

    helper_id: str
    helper: Worker | None = None
    lent_since: float | None = None
    """Since when the helper has worked without a pause while the lender was blocked."""


class Lending:
    """Keeps watch on blocked workers and their helpers."""

    def __init__(self, settings: Settings, state: State, out: Outbox, dispatch: Dispatch) -> None:
        self._settings = settings
        self._state = state
        self._out = out
        self._dispatch = dispatch
        self._minted = 0
        self._slots: dict[Worker, float] = {}  # blocked workers without a helper, with the priority of their task
        self._starting: dict[str, str] = {}  # helper -> lender
        self._idle: dict[Worker, float] = {}  # helpers without a task, and since when, the oldest first
        self._suspending: dict[Worker, float] = {}  # lenders that are to be stopped, and when
        self._not_before: dict[str, float] = {}  # lender -> when it may have a helper again
        self._failed: list[str] = []  # lenders whose helper could not start

    # ---- who comes and goes

    def client_joined(self, client: Client) -> None:
        """Take in a client that may live in a worker's process; from one that is over it is sent away."""
        if client.home is None:
            return
        self._state.homes.setdefault(client.home, {})[client] = None
        worker_id, incarnation = client.home
        worker = self._state.workers.get(worker_id)
        if worker is not None and worker.incarnation == incarnation:
            worker.clients = self._state.homes[client.home]
            self._dispatch.holdings.update(worker)
        elif self._is_over(worker_id, incarnation, worker):
            self._out.end_session(client.peer, _over(worker_id))

    def client_left(self, client: Client) -> None:
        """Forget a client."""
        if client.home is None:
            return
        self._state.note_home(client)
        clients = self._state.homes[client.home]
        del clients[client]
        if not clients:
            del self._state.homes[client.home]

    def greeted(self, worker: Worker) -> None:
        """Take in a process, a helper perhaps."""
        home = worker.worker_id, worker.incarnation
        worker.clients = self._state.homes.get(home, worker.clients)
        if worker.lender:
            self._starting.pop(worker.worker_id, None)
            self._state.helpers.setdefault(root_of(worker.worker_id), {})[worker] = None
            worker.floor = inf
            loan = self._state.loans.get(worker.lender)
            if loan is None:
                loan = self._state.loans[worker.lender] = Loan(worker.worker_id)
            if loan.helper_id == worker.worker_id:
                loan.helper = worker
            else:  # it was lent by the scheduler before this one, and so is the other
                self._dismiss([worker])

    def removed(self, worker: Worker, *, is_over: bool) -> None:
        """Forget a process. If it is over, nobody waits for its clients; one that was lost may come back with them."""
        if is_over:
            self._end_clients(worker.worker_id, worker.incarnation)
        if worker.suspended:
            self._out.vouch(worker.peer, vouched=False)
        self._state.restless.pop(worker, None)
        self._slots.pop(worker, None)
        self._idle.pop(worker, None)
        self._suspending.pop(worker, None)
        if worker.lender:
            root = root_of(worker.worker_id)
            del self._state.helpers[root][worker]
            if not self._state.helpers[root]:
                del self._state.helpers[root]
            self._end_loan(worker)
        loan = self._state.loans.get(worker.worker_id)
        if loan is not None and loan.helper is None:
            del self._state.loans[worker.worker_id]
            self._starting.pop(loan.helper_id, None)
        elif loan is not None and loan.helper is not None:
            loan.lent_since = None
            self._state.restless[loan.helper] = None

    def process_ended(self, ended: m.ProcessEnded) -> None:
        """Take note of the end of a process that has perhaps never greeted."""
        self._end_clients(ended.worker_id, ended.incarnation)
        lender_id = self._starting.pop(ended.worker_id, None)
        if lender_id is not None:
            del self._state.loans[lender_id]
            self._failed.append(lender_id)
            level = INFO if ended.cause == "planned" else WARNING
            self._out.log(level, f"a helper of worker {lender_id} could not start: {ended.detail}")

    def given_up(self, worker: Worker, now: float) -> None:
        """What a stopped process held runs elsewhere. Should it go on, its task does too, and may wait for others."""
        worker.given_up_at = now
        if worker.lender and not worker.draining:
            self._dismiss([worker])

    # ---- decisions

    @property
    def is_concerned(self) -> bool:
        """Whether a lender or helper has changed, or somebody waits for time to pass."""
        changed = self._state.restless or self._failed
        return bool(changed or self._slots or self._idle or self._suspending or self._not_before)

    def settle(self, now: float) -> None:
        """Find out who is blocked, and what their helpers may take."""
        self._note_failures(now)
        due = [worker for worker, at in self._suspending.items() if now >= at]
        restless, self._state.restless = self._state.restless, {}
        for worker in dict.fromkeys((*restless, *due)):
            if self._state.workers.get(worker.worker_id) is not worker:
                continue
            if worker.lender:
                self._settle_helper(worker, now)
            self._settle_slot(worker, now)

    def lend(self, now: float) -> None:
        """Once tasks are assigned, ask for helpers where some find no place, and end those that have long been idle."""
        self.settle(now)
        for worker, floor in sorted(self._slots.items(), key=_highest_first):
            starting = len(self._starting)
            if now < self._not_before.get(worker.worker_id, now) or worker.host not in self._state.hosts:
                continue
            if self._dispatch.holdings.waiting_above(worker, floor, starting + 1) > starting:
                self._lend(worker)
        self._dismiss([helper for helper, since in self._idle.items() if self._is_useless(helper, since, now)])

    def next_wakeup(self) -> float | None:
        """Return when something is due without an event."""
        wakeups = [*self._suspending.values()]
        wakeups += [self._not_before[one.worker_id] for one in self._slots if one.worker_id in self._not_before]
        wakeups += [since + HELPER_IDLE_SECONDS for since in [*self._idle.values()][:1]]
        return min(wakeups, default=None)

    def _settle_helper(self, helper: Worker, now: float) -> None:
        """Look at a helper, by way of its lender if that is there."""
        if helper.slices or helper.draining:
            self._idle.pop(helper, None)
        else:
            self._idle.setdefault(helper, now)
        lender = self._state.workers.get(helper.lender)
        if lender is not None:
            self._settle_slot(lender, now)
        else:
            self._set_floor(helper, inf)

    def _settle_slot(self, worker: Worker, now: float) -> None:
        is_at_work = bool(worker.slices) or _runs_unknown_task(worker)
        waits = is_at_work and any(client.batches for client in worker.clients)
        if waits is not worker.blocked:
            worker.blocked = waits
            if waits and worker.running is not None:
                worker.running.batch.function.wary = WARY_TASKS
            self._dispatch.holdings.update(worker)
        if waits:
            self._dispatch.holdings.recall_rest(worker)
        floor = _priority(worker) if waits and not worker.recalls else inf
        loan = self._state.loans.get(worker.worker_id)
        if floor < inf and loan is None:
            self._slots[worker] = floor
        else:
            self._slots.pop(worker, None)
        if loan is not None and loan.helper is not None:
            self._set_floor(loan.helper, floor)
            if not waits:
                self._dispatch.holdings.recall_rest(loan.helper)
        if worker.suspends:
            self._suspend_or_resume(worker, loan, now)

    def _set_floor(self, helper: Worker, floor: float) -> None:
        if helper.floor != floor:
            helper.floor = floor
            self._dispatch.holdings.update(helper)

    # ---- helpers

    def _lend(self, worker: Worker) -> None:
        self._minted += 1
        name = helper_id(worker.worker_id, f"{self._settings.id_prefix}-{self._minted}")
        del self._slots[worker]
        self._state.loans[worker.worker_id] = Loan(name)
        self._starting[name] = worker.worker_id
        self._out.log(INFO, f"worker {worker.worker_id} lends its slot to {name}: its task waits for others")
        self._out.send(worker.host, m.LendSlot(worker.worker_id, worker.incarnation, name))

    def _is_useless(self, helper: Worker, since: float, now: float) -> bool:
        is_orphan = helper.lender not in self._state.workers and root_of(helper.lender) != helper.lender
        return not helper.slices and (is_orphan or now >= since + HELPER_IDLE_SECONDS)

    def _dismiss(self, helpers: Iterable[Worker]) -> None:
        """Have idle helpers ended. They take nothing from now on."""
        for helper in list(helpers):
            self._idle.pop(helper, None)
            self._end_loan(helper)
            helper.draining = True
            self._dispatch.holdings.update(helper)
            self._out.send(helper.host, m.EndHelpers([helper.worker_id]))

    def _end_loan(self, helper: Worker) -> None:
        loan = self._state.loans.get(helper.lender)
        if loan is not None and loan.helper is helper:
            del self._state.loans[helper.lender]
            lender = self._state.workers.get(helper.lender)
            if lender is not None:
                self._state.restless[lender] = None

    def _note_failures(self, now: float) -> None:
        """Give lenders a pause whose helper could not start; forget the pauses that are over."""
        for lender_id in self._failed:
            self._not_before.pop(lender_id, None)  # the earliest come first
            self._not_before[lender_id] = now + RETRY_SECONDS
            if lender_id in self._state.workers:
                self._state.restless[self._state.workers[lender_id]] = None
        self._failed.clear()
        while self._not_before and now >= next(iter(self._not_before.values())):
            del self._not_before[next(iter(self._not_before))]

    # ---- stopping processes

    def _suspend_or_resume(self, worker: Worker, loan: Loan | None, now: float) -> None:
        """Stop a blocked process while its helper works; let it look whenever that has ended what it did.

        One whose task is to be taken back goes on, too: it has to answer.
        """
        works = loan is not None and loan.helper is not None and bool(loan.helper.slices)
        if loan is None or not works or not worker.blocked or worker.recalls:
            self._suspending.pop(worker, None)
            if loan is not None:
                loan.lent_since = None
            if worker.suspended:
                self._suspend(worker, suspended=False)
        elif not worker.suspended:
            loan.lent_since = now if loan.lent_since is None else loan.lent_since
            due = self._suspending[worker] = loan.lent_since + LOOK_SECONDS
            if now >= due:
                del self._suspending[worker]
                self._suspend(worker, suspended=True)

    def _suspend(self, worker: Worker, *, suspended: bool) -> None:
        """A stopped process gives no sign of life, nor do the clients in it: the scheduler knows why."""
        worker.suspended = suspended
        for peer in (worker.peer, *(client.peer for client in worker.clients)):
            self._out.vouch(peer, vouched=suspended)
        self._out.send(worker.host, m.SuspendWorker(worker.worker_id, worker.incarnation, suspended))

    # ---- clients

    def _end_clients(self, worker_id: str, incarnation: int) -> None:
        for client in self._state.homes.get((worker_id, incarnation), ()):
            self._out.end_session(client.peer, _over(worker_id))

    def _is_over(self, worker_id: str, incarnation: int, worker: Worker | None) -> bool:
        """Whether the process is known to have ended."""
        if worker is not None and worker.incarnation > incarnation:
            return True
        return any(host.ended.get(worker_id, -1) >= incarnation for host in self._state.hosts.values())


def _over(worker_id: str) -> str:
    return f"the task around this client is over: its process, of worker {worker_id}, has ended or was given up"


def _runs_unknown_task(worker: Worker) -> bool:
    """Whether it may still be at a task that was given up: it has answered nothing since."""
    return worker.given_up_at > worker.progressed_at


def _priority(worker: Worker) -> float:
    """Return the priority of the task that waits; one that was given up is known by its own tasks, one above it."""
    priority: float = max((piece.batch.submitted.priority for piece in worker.slices.values()), default=inf)
    if _runs_unknown_task(worker):
        own = (batch.submitted.priority for client in worker.clients for batch in client.batches.values())
        priority = min(priority, min(own, default=inf) - 1)
    return priority


def _highest_first(slot: tuple[Worker, float]) -> float:
    return -slot[1]
