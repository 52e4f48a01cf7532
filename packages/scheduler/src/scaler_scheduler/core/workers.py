"""What workers and their hosts say: a process is ready, has ended, is stopped; and what that means for its tasks."""

import signal
from logging import INFO, WARNING

from scaler_protocol import messages as m
from scaler_protocol.batch import Status
from scaler_runtime.core import Peer
from scaler_scheduler.core.dispatch import Dispatch
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.core.state import Host, Outbox, Slice, State, Worker

OWN_DOING = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})
"""Signals by which a task ends its own process."""

ORDERLY = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals by which somebody asks a process to leave."""


class Workers:
    """The scheduler's conversation with workers and hosts."""

    def __init__(self, settings: Settings, state: State, out: Outbox, dispatch: Dispatch) -> None:
        self._settings = settings
        self._state = state
        self._out = out
        self._dispatch = dispatch

    # ---- workers

    def on_hello(self, peer: Peer, hello: m.WorkerHello, now: float) -> None:
        """Take in a process. It replaces an earlier one of the same worker, whose end its host will explain."""
        known = self._state.workers.get(hello.worker_id)
        if known is not None and (known.host != hello.host_id or known.incarnation > hello.incarnation):
            self._out.dismiss(peer, f"worker {hello.worker_id} is another process")
            return
        if known is not None:
            held = self._remove(known)
            if known.incarnation < hello.incarnation and held:
                self._state.lost[hello.worker_id, known.incarnation] = held
            else:
                self._requeue(held)
        worker = Worker(
            worker_id=hello.worker_id,
            peer=peer,
            incarnation=hello.incarnation,
            host=hello.host_id,
            group_id=hello.group_id,
            queue_size=max(1, hello.queue_size),
            capabilities=hello.capabilities,
            progressed_at=now,
        )
        self._state.workers[worker.worker_id] = worker
        self._state.worker_of_peer[peer] = worker
        host = self._state.hosts.get(worker.host)
        if host is not None:
            host.workers.add(worker.worker_id)
            worker.draining = worker.worker_id in host.draining
        if known is None:
            self._out.log(INFO, f"worker {worker.worker_id} is ready; {len(self._state.workers)} workers")
        self._dispatch.update(worker)

    def worker_left(self, worker: Worker, reason: str) -> None:
        """Run elsewhere what a worker held whose connection is gone for good; its host did not report its end."""
        held = self._remove(worker)
        self._out.log(WARNING, f"worker {worker.worker_id} is lost: {reason}")
        self._after_loss(held, _head(held), f"worker {worker.worker_id}: {reason}", counted=True)

    # ---- hosts

    def host_joined(self, peer: Peer, register: m.Register) -> None:
        """Take in a host; its workers may have come before it."""
        host = Host(peer, f"{register.name} on {register.host_name}")
        host.workers = {worker.worker_id for worker in self._state.workers.values() if worker.host == peer}
        self._state.hosts[peer] = host

    def host_left(self, host: Host, reason: str) -> None:
        """Give up the workers of a host that is gone: they end with it."""
        del self._state.hosts[host.peer]
        cause = f"worker host {host.name} is gone: {reason}"
        for worker_id in host.workers:
            worker = self._state.workers.get(worker_id)
            if worker is not None:
                held = self._remove(worker)
                self._after_loss(held, _head(held), f"worker {worker_id}: {cause}", counted=True)
        for key in [key for key in self._state.lost if key[0] in host.workers]:
            self._requeue(self._state.lost.pop(key))
        self._out.log(INFO, f"{cause}; it had {len(host.workers)} workers")

    def on_report(self, host: Host, report: m.HostReport, now: float) -> None:
        """Compare with what a host says of its workers."""
        present = {entry.worker_id for entry in report.workers}
        for worker_id in host.reported - present:
            worker = self._state.workers.get(worker_id)
            if worker is not None and worker.host == host.peer:
                self._requeue(self._remove(worker))
        host.reported = present
        for entry in report.workers:
            worker = self._state.workers.get(entry.worker_id)
            if entry.state == "draining":
                host.draining.add(entry.worker_id)
                if worker is not None and not worker.draining:
                    self._dispatch.drain(worker)
            if worker is not None and worker.host == host.peer and worker.incarnation == entry.incarnation:
                self._note_stopped(worker, is_stopped=entry.state == "stopped", now=now)

    def on_process_ended(self, host: Host, ended: m.ProcessEnded) -> None:
        """Answer, run again or count what an ended process held."""
        worker = self._state.workers.get(ended.worker_id)
        held = self._state.lost.pop((ended.worker_id, ended.incarnation), [])
        if worker is not None and worker.host == host.peer and worker.incarnation == ended.incarnation:
            held = self._remove(worker)
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
            self._fail_culprit(held, culprit, status, ended)
            return
        counted = ended.cause == "signal" and ended.code not in ORDERLY
        self._after_loss(held, culprit, ended.detail, counted=counted)

    def settle(self, now: float) -> None:
        """Tell draining hosts which workers are empty, and give up on workers that were stopped for too long."""
        for host in self._state.hosts.values():
            empty = [worker_id for worker_id in host.draining if self._is_empty(worker_id)]
            if empty:
                host.draining.difference_update(empty)
                self._out.send(host.peer, m.WorkersDrained(empty))
        for worker in self._state.workers.values():
            if worker.stopped_since is not None and worker.slices and now >= self._patience_ends(worker):
                self._out.log(WARNING, f"worker {worker.worker_id} is stopped; its tasks run elsewhere")
                self._requeue(self._dispatch.give_up(worker))

    def next_wakeup(self) -> float | None:
        """Return when `settle` has something to do without an event."""
        return min(
            (
                self._patience_ends(worker)
                for worker in self._state.workers.values()
                if worker.stopped and worker.slices
            ),
            default=None,
        )

    # ---- what follows from a loss

    def _fail_culprit(
        self, held: list[Slice], culprit: tuple[Slice, int], status: Status, ended: m.ProcessEnded
    ) -> None:
        piece, task = culprit
        self._requeue([other for other in held if other is not piece])
        self._dispatch.requeue(piece.batch, piece.next, task)
        self._dispatch.requeue(piece.batch, task + 1, piece.stop)
        self._dispatch.fail(piece.batch, task, status, _text(status, ended))

    def _after_loss(self, held: list[Slice], culprit: tuple[Slice, int] | None, cause: str, *, counted: bool) -> None:
        """Run everything again; the task that ran counts one loss, if counted, and fails beyond the limit."""
        if culprit is not None and counted:
            piece, task = culprit
            causes = piece.batch.failures.setdefault(task, [])
            causes.append(cause)
            if len(causes) > self._settings.task_retry_limit:
                self._requeue([other for other in held if other is not piece])
                self._dispatch.requeue(piece.batch, piece.next, task)
                self._dispatch.requeue(piece.batch, task + 1, piece.stop)
                self._dispatch.fail(piece.batch, task, Status.WORKER_DIED, "\n".join(causes))
                return
        self._requeue(held)

    def _requeue(self, held: list[Slice]) -> None:
        for piece in held:
            self._dispatch.requeue(piece.batch, piece.next, piece.stop)

    def _remove(self, worker: Worker) -> list[Slice]:
        held = self._dispatch.give_up(worker)
        self._dispatch.remove(worker)
        del self._state.workers[worker.worker_id]
        del self._state.worker_of_peer[worker.peer]
        host = self._state.hosts.get(worker.host)
        if host is not None:
            host.workers.discard(worker.worker_id)
        return held

    def _is_empty(self, worker_id: str) -> bool:
        worker = self._state.workers.get(worker_id)
        return worker is None or not worker.slices

    def _note_stopped(self, worker: Worker, *, is_stopped: bool, now: float) -> None:
        if is_stopped != worker.stopped:
            worker.stopped_since = now if is_stopped else None
            self._dispatch.update(worker)

    def _patience_ends(self, worker: Worker) -> float:
        return (worker.stopped_since or 0.0) + self._settings.worker_timeout_seconds


def _head(held: list[Slice]) -> tuple[Slice, int] | None:
    """Return the task that most likely ran: the first unanswered one."""
    return (held[0], held[0].next) if held else None


def _status(ended: m.ProcessEnded) -> Status | None:
    """Return how the task that ran is answered, None if it runs again."""
    if ended.cause == "exit" or (ended.cause == "signal" and ended.code in OWN_DOING):
        return Status.PROCESSOR_DIED
    return {"cancelled": Status.CANCELLED, "timeout": Status.TIMED_OUT}.get(ended.cause)


def _text(status: Status, ended: m.ProcessEnded) -> str:
    if status is not Status.PROCESSOR_DIED:
        return ended.detail
    how = f"exit_code={ended.code}" if ended.cause == "exit" else f"signal_name={signal.Signals(ended.code).name}"
    return f"{how}\n{ended.detail}"
