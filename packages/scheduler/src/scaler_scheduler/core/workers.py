"""What workers and their hosts say: a process is ready, has ended, is stopped; and what that means for its tasks."""

import signal
from logging import INFO, WARNING

from scaler_protocol import messages as m
from scaler_protocol.batch import Status, died_text
from scaler_protocol.errors import ProtocolError
from scaler_runtime.core import Peer
from scaler_scheduler.core.dispatch import Dispatch
from scaler_scheduler.core.lending import Lending
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.core.state import Host, Outbox, Slice, State, Worker

ORDERLY = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals by which somebody asks a process to leave."""

_MAX_ENDED = 1000
"""Of so many workers a host's word that they have ended is kept."""


class Workers:
    """The scheduler's conversation with workers and hosts."""

    def __init__(self, settings: Settings, state: State, out: Outbox, dispatch: Dispatch, lending: Lending) -> None:
        self._settings = settings
        self._state = state
        self._out = out
        self._dispatch = dispatch
        self._lending = lending
        self._stopped: dict[Worker, None] = {}
        self.is_concerned = False

    # ---- workers

    def on_hello(self, peer: Peer, hello: m.WorkerHello, now: float) -> None:
        """Take in a process. It replaces an earlier one of the same worker, whose end its host will explain."""
        if not hello.worker_id or hello.worker_id == hello.lender:
            raise ProtocolError(f"worker {hello.worker_id!r} in the slot of {hello.lender!r}")
        if any(held.start >= held.stop for held in hello.held):
            raise ProtocolError(f"worker {hello.worker_id} holds a slice of no tasks")
        mine = self._state.worker_of_peer.get(peer)
        if mine is not None and mine.worker_id != hello.worker_id:
            raise ProtocolError(f"worker {mine.worker_id} says that it is {hello.worker_id}")
        known = self._state.workers.get(hello.worker_id)
        host = self._state.hosts.get(hello.host_id)
        if self._is_late(hello, known, host):
            self._dismiss(peer, f"worker {hello.worker_id} is another process by now")
            return
        if known is not None:
            held = self._remove(known, is_over=known.incarnation < hello.incarnation)
            if known.incarnation < hello.incarnation and held:
                self._state.lost[known.host, known.worker_id, known.incarnation] = held
            else:
                self._run_again(held)
        worker = Worker(
            worker_id=hello.worker_id,
            peer=peer,
            incarnation=hello.incarnation,
            host=hello.host_id,
            group_id=hello.group_id,
            queue_size=max(1, hello.queue_size),
            capabilities=hello.capabilities,
            progressed_at=now,
            lender=hello.lender,
            suspends=hello.suspends,
        )
        self._state.workers[worker.worker_id] = worker
        self._state.worker_of_peer[peer] = worker
        if not worker.lender:
            self._state.members.setdefault(worker.group_id, {})[worker.worker_id] = worker
            worker.draining = self._group_leaves(worker.group_id)
        if host is not None:
            host.workers.add(worker.worker_id)
            worker.draining |= worker.worker_id in host.draining
        if known is None and not worker.lender:
            self._out.log(INFO, f"worker {worker.worker_id} is ready; {self._state.worker_count} workers")
        self._lending.greeted(worker)
        self._dispatch.holdings.update(worker)

    def worker_left(self, worker: Worker, reason: str) -> None:
        """Run elsewhere what a worker held whose connection is gone for good; its host did not report its end."""
        running = _running(worker)
        self._out.log(WARNING, f"worker {worker.worker_id} is lost: {reason}")
        held = self._remove(worker, is_over=False)
        self._after_loss(held, running, f"worker {worker.worker_id}: {reason}", counted=True)

    def _is_late(self, hello: m.WorkerHello, known: Worker | None, host: Host | None) -> bool:
        """Whether the process that greets is not, or not any more, the worker's current one."""
        if known is not None and (known.host != hello.host_id or known.incarnation > hello.incarnation):
            return True
        return host is not None and host.ended.get(hello.worker_id, -1) >= hello.incarnation

    def _group_leaves(self, group_id: str) -> bool:
        adapter = self._state.owners.get(group_id)
        return adapter is not None and adapter.groups[group_id].leaving

    def _dismiss(self, peer: Peer, reason: str) -> None:
        """Have a process that was given up end, if it is still there."""
        self._out.send(peer, m.Shutdown(reason, dismissed=True))

    # ---- hosts

    def host_joined(self, peer: Peer, register: m.Register) -> None:
        """Take in a host; its workers may have come before it."""
        host = Host(peer, f"{register.name} on {register.host_name}")
        host.workers = {worker.worker_id for worker in self._state.workers.values() if worker.host == peer}
        self._state.hosts[peer] = host

    def host_left(self, host: Host, reason: str) -> None:
        """Give up the workers of a host that is gone: they end with it, or now."""
        del self._state.hosts[host.peer]
        cause = f"worker host {host.name} is gone: {reason}"
        for worker_id in sorted(host.workers):
            worker = self._state.workers[worker_id]
            running = _running(worker)
            self._dismiss(worker.peer, cause)
            self._after_loss(self._remove(worker), running, f"worker {worker_id}: {cause}", counted=True)
        for key in [key for key in self._state.lost if key[0] == host.peer]:
            self._run_again(self._state.lost.pop(key))
        self._out.log(INFO, f"{cause}; it had {len(host.workers)} workers")

    def on_report(self, host: Host, report: m.HostReport, now: float) -> None:
        """Compare with what a host says of its workers."""
        self.is_concerned = True
        present = {entry.worker_id for entry in report.workers}
        for worker_id in sorted(host.reported - present):
            worker = self._state.workers.get(worker_id)
            if worker is not None and worker.host == host.peer:
                self._run_again(self._remove(worker))
        host.reported = present
        host.report, host.reported_at = report, now
        host.draining = {entry.worker_id for entry in report.workers if entry.state == "draining"}
        host.undrained = {worker_id: None for worker_id in host.undrained if worker_id in host.draining}
        for entry in report.workers:
            worker = self._state.workers.get(entry.worker_id)
            if entry.state == "draining":
                host.undrained[entry.worker_id] = None
            if worker is None or worker.host != host.peer:
                continue
            if entry.state == "draining" and not worker.draining:
                self._dispatch.holdings.drain(worker)
            if worker.incarnation == entry.incarnation:
                self._note_stopped(worker, is_stopped=entry.state == "stopped", now=now)

    def on_process_ended(self, host: Host, ended: m.ProcessEnded) -> None:
        """Answer, run again or count what an ended process held."""
        self._note_ended(host, ended)
        worker = self._state.workers.get(ended.worker_id)
        held = self._state.lost.pop((host.peer, ended.worker_id, ended.incarnation), [])
        if worker is not None and worker.host == host.peer and worker.incarnation == ended.incarnation:
            held = self._remove(worker)
        for piece in held:
            self._dispatch.outcomes.drop_unheard(piece)
        self._lending.process_ended(ended)
        culprit = next(
            (
                (piece, ended.task)
                for piece in held
                if piece.slice_id == ended.slice_id and piece.next <= ended.task < piece.stop
            ),
            None,
        )
        level = INFO if ended.cause in {"planned", "cancelled"} else WARNING
        self._out.log(level, ended.detail or f"a process of worker {ended.worker_id} ended: {ended.cause}")
        status = _status(ended)
        if status is not None and culprit is not None:
            self._fail_culprit(held, culprit, status, _text(status, ended))
            return
        counted = ended.cause == "signal" and ended.code not in ORDERLY
        self._after_loss(held, culprit, ended.detail, counted=counted)

    def settle(self, now: float) -> None:
        """Tell draining hosts which workers are empty, and give up on workers that were stopped for too long."""
        for host in self._state.hosts.values():
            empty = [worker_id for worker_id in host.undrained if self._state.is_empty(worker_id)]
            if empty:
                for worker_id in empty:
                    del host.undrained[worker_id]
                self._out.send(host.peer, m.WorkersDrained(empty))
        for worker in self._stopped:
            if worker.slices and now >= self._patience_ends(worker):
                self._out.log(WARNING, f"worker {worker.worker_id} is stopped; its tasks run elsewhere")
                self._dispatch.holdings.recall_all(worker)  # should it go on one day
                self._run_again(self._dispatch.holdings.give_up(worker))
                self._lending.given_up(worker, now)
        self.is_concerned = bool(self._stopped) or any(host.undrained for host in self._state.hosts.values())

    def next_wakeup(self) -> float | None:
        """Return when `settle` has something to do without an event."""
        return min((self._patience_ends(worker) for worker in self._stopped if worker.slices), default=None)

    # ---- what follows from a loss

    def _fail_culprit(self, held: list[Slice], culprit: tuple[Slice, int], status: Status, text: str) -> None:
        piece, task = culprit
        self._run_again([other for other in held if other is not piece])
        self._dispatch.fail_one(piece, task, status, text)

    def _after_loss(self, held: list[Slice], culprit: tuple[Slice, int] | None, cause: str, *, counted: bool) -> None:
        """Run everything again; the task that ran counts one loss, if counted, and fails beyond the limit."""
        if culprit is not None and counted:
            piece, task = culprit
            causes = piece.batch.failures.setdefault(task, [])
            causes.append(cause)
            if len(causes) > self._settings.task_retry_limit:
                self._fail_culprit(held, culprit, Status.WORKER_DIED, "\n".join(causes))
                return
        self._run_again(held)

    def _run_again(self, held: list[Slice]) -> None:
        for piece in held:
            self._dispatch.run_again(piece)

    def _remove(self, worker: Worker, *, is_over: bool = True) -> list[Slice]:
        held = self._dispatch.holdings.remove(worker)
        del self._state.workers[worker.worker_id]
        del self._state.worker_of_peer[worker.peer]
        self._lending.removed(worker, is_over=is_over)
        members = self._state.members.get(worker.group_id, {})
        if members.pop(worker.worker_id, None) is not None and not members:
            del self._state.members[worker.group_id]
        self._stopped.pop(worker, None)
        host = self._state.hosts.get(worker.host)
        if host is not None:
            host.workers.discard(worker.worker_id)
        return held

    def _note_ended(self, host: Host, ended: m.ProcessEnded) -> None:
        host.ended[ended.worker_id] = max(ended.incarnation, host.ended.pop(ended.worker_id, -1))
        if len(host.ended) > _MAX_ENDED:
            del host.ended[next(iter(host.ended))]

    def _note_stopped(self, worker: Worker, *, is_stopped: bool, now: float) -> None:
        if is_stopped != worker.stopped:
            worker.stopped_since = now if is_stopped else None
            if is_stopped:
                self._stopped[worker] = None
            else:
                del self._stopped[worker]
            self._dispatch.holdings.update(worker)

    def _patience_ends(self, worker: Worker) -> float:
        return (worker.stopped_since or 0.0) + self._settings.worker_timeout_seconds


def _running(worker: Worker) -> tuple[Slice, int] | None:
    """Return the task that most likely runs."""
    piece = worker.running
    return None if piece is None else (piece, piece.next)


def _status(ended: m.ProcessEnded) -> Status | None:
    """Return how the task that ran is answered, None if it runs again."""
    if ended.cause == "exit" or (ended.cause == "signal" and ended.code in m.OWN_DOING):
        return Status.PROCESSOR_DIED
    return {"cancelled": Status.CANCELLED, "timeout": Status.TIMED_OUT}.get(ended.cause)


def _text(status: Status, ended: m.ProcessEnded) -> str:
    if status is not Status.PROCESSOR_DIED:
        return ended.detail
    how = f"exit_code={ended.code}" if ended.cause == "exit" else f"signal_name={signal.Signals(ended.code).name}"
    return died_text(how, ended.detail, ended.stderr_tail)
