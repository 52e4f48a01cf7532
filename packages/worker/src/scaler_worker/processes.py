"""The processes of a host's workers: forked, signalled, replaced, buried. The zygote is their parent and reaps them.

Says what has become of each by `send`, as messages for the scheduler, and calls `changed` whenever a state has changed.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Final

from scaler_protocol import messages as m
from scaler_protocol.identifiers import root_of
from scaler_runtime.zygote import Ended, Said, Started, Zygote, ZygoteEnded
from scaler_worker.endings import CANCELLED, PLANNED, Ending, ProcessFacts, judge
from scaler_worker.hosted import ENDED, READY, STARTING, STOPPING, Hosted
from scaler_worker.leftovers import STREAMING
from scaler_worker.machine import OutOfMemoryKills, is_stopped
from scaler_worker.process import ProcessArguments
from scaler_worker.record import Records, Running
from scaler_worker.stderr_tail import headline, readable

ZYGOTE_STOPPED_SECONDS: Final = 10.0
"""For so long the process that forks workers may be stopped (SIGSTOP)."""

PRELOAD: Final = ("scaler_worker.process:prepare",)
"""What a zygote of workers imports and calls before it forks them."""

KILL_DELAY_SECONDS: Final = 3.0
"""How long a process may take to end by SIGTERM."""

_TARGET = "scaler_worker.process:run"
_log = logging.getLogger(__name__)


class Processes:
    """See the module. Everything is called in the loop's thread."""

    def __init__(
        self,
        zygote: Zygote | None,
        *,
        arguments: Callable[[Hosted], ProcessArguments],
        timeout_seconds: float,
        memory_of: Callable[[str], int],
        send: Callable[[m.Message], None],
        changed: Callable[[], None],
    ) -> None:
        """Start a zygote, unless one is given. `memory_of` a worker: resident bytes when last measured."""
        self._loop = asyncio.get_running_loop()
        self._arguments = arguments
        self._timeout_seconds = timeout_seconds
        self._memory_of = memory_of
        self._send = send
        self._changed = changed
        self.workers: dict[str, Hosted] = {}
        """All workers that are not forgotten."""
        self.helpers: dict[str, Hosted] = {}
        """Processes that use the slots of workers whose tasks wait."""
        self.draining = False
        """Nothing is replaced any more."""
        self.closing = False
        """The same, and there will be no other zygote."""
        self._by_key: dict[str, Hosted] = {}  # living processes
        self._records = Records()
        self._kills = OutOfMemoryKills()
        self._zygote_stopped_at: float | None = None
        self._zygote_failed = False  # it ended before it was of use: the next worker gets a new one
        self.zygote_works = False
        """Whether a process of the present zygote has become ready."""
        self.zygote = self._adopt(zygote or Zygote(PRELOAD))

    def living(self) -> list[Hosted]:
        """Return all that have a process."""
        return list(self._by_key.values())

    def find(self, worker_id: str) -> Hosted | None:
        """Return a worker or a helper."""
        return self.workers.get(worker_id) or self.helpers.get(worker_id)

    # ---- beginnings

    def start(self, worker_id: str, group_id: str, capabilities: m.Capabilities, lender: str = "") -> None:
        """Start a worker, or the helper of a lender; `OSError` where the machine has no room for it."""
        slot, record = self._records.take()
        worker = Hosted(worker_id, group_id, capabilities, 1, slot, record, lender=lender)
        table = self.helpers if lender else self.workers
        table[worker_id] = worker
        try:
            self._fork(worker)
        except OSError:  # nothing was forked: it never was
            del table[worker_id]
            self._records.give_back(slot)
            raise

    def _fork(self, worker: Hosted) -> None:
        """Have a worker's current process forked, by a new zygote if the last one has failed before it was of use."""
        if self._zygote_failed:
            self.zygote = self._adopt(Zygote(PRELOAD))
            self._zygote_failed = False
        arguments = self._arguments(worker)
        self._by_key[worker.key] = worker
        self.zygote.start(worker.key, _TARGET, arguments, (self._records.descriptor,), keeps_stderr=True)
        self.set_state(worker, STARTING)

    def _adopt(self, zygote: Zygote) -> Zygote:
        self.zygote_works = False
        self._loop.add_reader(zygote.fileno(), self._on_zygote_events)
        return zygote

    # ---- ends that are wanted

    def end(
        self, worker: Hosted, why: str, reason: str = "", *, task: Running | None = None, kill: bool = False
    ) -> None:
        """Ask a process to end; what was asked first counts, except that a stop replaces nothing."""
        if worker.asked is None or why == PLANNED:
            worker.asked, worker.asked_for = why, task
        self.zygote.signal(worker.key, signal.SIGKILL if kill else signal.SIGTERM)
        self.suspend(worker, suspended=False)  # a stopped process does not end
        if worker.kill_timer is None and not kill:
            key = worker.key
            worker.kill_timer = self._loop.call_later(
                KILL_DELAY_SECONDS, lambda: self.zygote.signal(key, signal.SIGKILL)
            )
        if why == PLANNED:
            self.set_state(worker, STOPPING, reason)

    def end_helpers(self, worker_id: str, *, kill: bool = False) -> None:
        """End a worker's helpers: it is gone, or about to go."""
        for helper in self.helpers.values():
            if root_of(helper.worker_id) == worker_id:
                self.end(helper, PLANNED, f"worker {worker_id} ends", kill=kill)

    def suspend(self, worker: Hosted, *, suspended: bool) -> None:
        """Stop a process whose slot is lent, with everything that its task has started, or let it go on."""
        if worker.suspended is not suspended:
            worker.suspended = suspended
            self.zygote.signal(worker.key, signal.SIGSTOP if suspended else signal.SIGCONT)

    def close(self) -> None:
        """End everything at once."""
        self._loop.remove_reader(self.zygote.fileno())
        self.zygote.close()
        self._on_zygote_events()
        self._records.close()

    # ---- what the zygote says

    def _on_zygote_events(self) -> None:
        for event in self.zygote.events():
            if isinstance(event, ZygoteEnded):
                self._on_zygote_ended(event.reason)
            elif (worker := self._by_key.get(event.key)) is None:
                for descriptor in event.descriptors if isinstance(event, Said) else ():
                    os.close(descriptor)
            elif isinstance(event, Started):
                worker.pid = event.pid
                self._changed()
            elif isinstance(event, Said):
                self._on_said(worker, event.message, event.descriptors)
            else:
                self._on_ended(worker, event)

    def _on_said(self, worker: Hosted, message: object, descriptors: tuple[int, ...]) -> None:
        match message:
            case ("ready",):
                self.zygote_works = True
                worker.ready_at = time.monotonic()
                if worker.state == STARTING:
                    self.set_state(worker, READY)
            case ("failed", str(cause)):
                worker.failure = cause
            case ("leaving", str(cause)):
                worker.asked, worker.failure = PLANNED, cause
            case (str(word), bytes(client_id), int(number)) if word == STREAMING:
                worker.stream(client_id, number, descriptors)
            case _:
                _log.warning("worker %s said %r", worker.worker_id, message)

    def _on_ended(self, worker: Hosted, ended: Ended) -> None:
        """Report the end of a process, and replace it where that is due."""
        worker.stderr = ended.stderr_tail
        ending = judge(self._facts(worker, ended))
        kept = not self.draining and not self.closing and not worker.lender
        self._bury(worker, ending, replace=ending.replaced and kept)

    def _on_zygote_ended(self, reason: str) -> None:
        """All processes are gone with the zygote. A new one, and new processes, unless this one never worked."""
        self._loop.remove_reader(self.zygote.fileno())
        if self.closing:
            return
        _log.error("%s", reason)
        living, works = self.living(), self.zygote_works
        self._zygote_failed = not works
        if works:
            try:
                self.zygote = self._adopt(Zygote(PRELOAD))
            except OSError as error:
                self._zygote_failed, works, reason = True, False, f"{reason}; there can be no other: {error}"
        for worker in living:
            facts = self._facts(worker, Ended(worker.key, worker.pid or 0, None, signal.SIGKILL))
            ending = judge(facts)
            if worker.asked is None:
                detail = f"worker {worker.worker_id} could not start" if worker.pid is None else ending.detail
                ending = Ending(ending.cause, ending.code, works, f"{detail}: {reason}")
            kept = works and not self.draining and not worker.lender
            self._bury(worker, ending, replace=ending.replaced and kept)

    def watch_zygote(self) -> None:
        """Replace a zygote that is stopped for too long: nothing can be started or ended without it."""
        now = time.monotonic()
        if self.closing or not is_stopped(self.zygote.pid):
            self._zygote_stopped_at = None
        elif self._zygote_stopped_at is None:
            self._zygote_stopped_at = now
        elif now - self._zygote_stopped_at >= ZYGOTE_STOPPED_SECONDS:
            _log.error("process %d, which forks the workers, was stopped for too long: it is killed", self.zygote.pid)
            os.kill(self.zygote.pid, signal.SIGKILL)  # not reaped yet, so that the number is its own

    def _facts(self, worker: Hosted, ended: Ended) -> ProcessFacts:
        memory = [f"{rss >> 20} MiB in use when last measured"] if (rss := self._memory_of(worker.worker_id)) else []
        kills = self._kills.count()
        if kills is not None:
            memory.append(f"out-of-memory kills in its control group: {kills}")
        return ProcessFacts(
            worker_id=worker.worker_id,
            pid=ended.pid,
            exit_code=ended.exit_code,
            signal=ended.signal,
            running=worker.record.running(),
            asked=worker.asked,
            asked_for=worker.asked_for,
            ready_seconds=None if worker.ready_at is None else time.monotonic() - worker.ready_at,
            failure=worker.failure or (headline(worker.stderr) if worker.ready_at is None else ""),
            memory=", ".join(memory),
            timeout_seconds=self._timeout_seconds,
        )

    def _bury(self, worker: Hosted, ending: Ending, *, replace: bool) -> None:
        running = worker.record.running()
        del self._by_key[worker.key]
        if worker.kill_timer is not None:
            worker.kill_timer.cancel()
        self._records.give_back(worker.slot)
        for written in worker.last_output():
            if worker.asked != CANCELLED:
                self._send(written)
        self._send(
            m.ProcessEnded(
                worker_id=worker.worker_id,
                incarnation=worker.incarnation,
                cause=ending.cause,
                code=ending.code,
                slice_id=0 if running is None else running.slice_id,
                task=0 if running is None else running.task,
                replaced=replace,
                detail=ending.detail,
                stderr_tail=readable(worker.stderr),
            )
        )
        _log.log(logging.INFO if ending.cause in {PLANNED, CANCELLED} else logging.WARNING, "%s", ending.detail)
        if worker.lender:  # it is never replaced: another one is lent where that is needed
            del self.helpers[worker.worker_id]
            self._changed()
            return
        if not replace:
            worker.in_order = ending.cause == PLANNED and ending.code == 0
            self.set_state(worker, ENDED, worker.failure or ending.detail)
            self.end_helpers(worker.worker_id)
            return
        slot, record = self._records.take()
        following = Hosted(worker.worker_id, worker.group_id, worker.capabilities, worker.incarnation + 1, slot, record)
        self.workers[worker.worker_id] = following
        try:
            self._fork(following)
        except OSError as error:
            self._records.give_back(slot)
            _log.error("worker %s cannot be replaced: %s", worker.worker_id, error)
            self.set_state(following, ENDED, f"it cannot be replaced: {error}")
            self.end_helpers(worker.worker_id)

    def set_state(self, worker: Hosted, state: str, reason: str = "") -> None:
        """Note how far a worker is, and tell."""
        worker.state, worker.reason = state, reason
        self._changed()
