"""The supervisor of one machine's workers: has processes forked, replaces them, tells the scheduler of their ends.

Runs in an asyncio loop that is there already. The zygote is the processes' parent: it signals and reaps them.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import zmq

from scaler_protocol import messages as m
from scaler_protocol.addresses import Address
from scaler_protocol.identifiers import root_of, short_host_name
from scaler_runtime.connection import Connection
from scaler_runtime.dump import add_sections
from scaler_runtime.options import LoggingConfig, WorkerConfig
from scaler_runtime.peer_task import PeerTask
from scaler_runtime.session import Down, Identity, Rejected, SessionEvent, Up
from scaler_runtime.zygote import Ended, Said, Started, Zygote, ZygoteEnded
from scaler_worker.endings import CANCELLED, PLANNED, TIMEOUT, Ending, ProcessFacts, judge
from scaler_worker.hosted import ENDED, READY, STARTING, STOPPED, STOPPING, Hosted, WorkerStatus
from scaler_worker.leftovers import STREAMING
from scaler_worker.machine import OutOfMemoryKills, is_stopped
from scaler_worker.process import ProcessArguments
from scaler_worker.record import Records, Running
from scaler_worker.stderr_tail import headline, readable
from scaler_worker.usage import HostUsage, UsageMeter

ZYGOTE_STOPPED_SECONDS: Final = 10.0
"""For so long the process that forks workers may be stopped (SIGSTOP)."""

KILL_DELAY_SECONDS: Final = 3.0
"""How long a process may take to end by SIGTERM."""

_CLOSE_SECONDS = 0.5
_LINGER_SECONDS = 0.2
_WATCH_SECONDS = 0.1
_REPORT_SECONDS = 0.02
"""Reports are no closer together than this: when many workers start at once, each has several changes."""

_PRELOAD = ("scaler_worker.process",)
_TARGET = "scaler_worker.process:run"
_log = logging.getLogger(__name__)


class WorkerHost:
    """See the module. `on_change` is called, soon, after a worker's state has changed."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        scheduler_address: Address,
        name_prefix: str,
        worker_config: WorkerConfig,
        *,
        preload: str | None,
        object_storage_address: Address | None,
        io_threads: int,
        logging_config: LoggingConfig,
        on_change: Callable[[], None],
        zygote: Zygote | None = None,
    ) -> None:
        """Start the zygote, unless one is given, and seek the scheduler. The host closes the zygote in any case."""
        self._loop = asyncio.get_running_loop()
        self._scheduler_address = scheduler_address
        self._config = worker_config
        self._preload = preload
        self._object_storage_address = object_storage_address
        self._io_threads = io_threads
        self._logging_config = logging_config
        self._on_change = on_change
        self._workers: dict[str, Hosted] = {}
        self._helpers: dict[str, Hosted] = {}  # processes that use the slots of workers whose tasks wait
        self._by_key: dict[str, Hosted] = {}  # living processes
        self._records = Records()
        self._kills = OutOfMemoryKills()
        self._meter = UsageMeter()
        self._usage = HostUsage()
        self._draining = False
        self._closing = False
        self._changed = asyncio.Event()
        self._telling: asyncio.Handle | None = None
        self._reported_at = 0.0
        self._watched_at = time.monotonic()
        self._report_timer: asyncio.TimerHandle | None = None
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}
        self._zygote_works = False  # a process of the present one has become ready
        self._zygote_stopped_at: float | None = None
        self._zygote_failed = False  # it ended before that: the next worker gets a new one
        self._zygote = self._adopt(zygote or Zygote(_PRELOAD))
        identity = Identity("host", f"{name_prefix}|{short_host_name()}")
        self.host_id: bytes = identity.session_id
        self._connection = Connection(context, scheduler_address, identity, worker_config.heartbeat_interval_seconds)
        self._peer = PeerTask(self._connection, self._on_session)
        self._undump = add_sections({"worker host": self.describe})
        self._repeat(self._beat, worker_config.heartbeat_interval_seconds)
        if worker_config.task_timeout_seconds:
            self._repeat(self._watch_tasks, _WATCH_SECONDS)

    def describe(self) -> Iterator[str]:
        """Return where it stands, a line at a time, for people."""
        yield from self._connection.describe(time.monotonic())
        yield f"zygote {self._zygote.pid}{'' if self._zygote_works else ', not proven yet'}"
        yield f"draining {self._draining}, closing {self._closing}"
        for worker in (*self._workers.values(), *self._helpers.values()):
            yield f"{worker.status}, asked {worker.asked} for {worker.asked_for}, runs {worker.record.running()}"

    @property
    def heard_at(self) -> float | None:
        """When the scheduler was heard last, by `time.monotonic`; None before the first time."""
        return self._connection.heard_at

    def workers(self) -> dict[str, WorkerStatus]:
        """Return all workers that are not forgotten."""
        return {worker.worker_id: worker.status for worker in self._workers.values()}

    def start(self, group_id: str, worker_id: str, capabilities: m.Capabilities | None = None) -> None:
        """Start a worker; `OSError` where the machine has no room for its record."""
        if worker_id in self._workers:
            raise ValueError(f"worker {worker_id} exists")
        offered = dict(self._config.per_worker_capabilities) if capabilities is None else dict(capabilities)
        slot, record = self._records.take()
        worker = Hosted(worker_id, group_id, offered, 1, slot, record)
        self._workers[worker_id] = worker
        self._fork(worker)

    def stop(self, worker_id: str, *, kill: bool = False) -> None:
        """End a worker: SIGTERM, SIGKILL after `KILL_DELAY_SECONDS`, or at once."""
        worker = self._workers[worker_id]
        if worker.state != ENDED:
            self._end(worker, PLANNED, "it is to stop", kill=kill)
        self._end_helpers(worker_id, kill=kill)

    def forget(self, worker_id: str) -> None:
        """Drop a worker that has ended."""
        if self._workers[worker_id].state != ENDED:
            raise ValueError(f"worker {worker_id} has not ended")
        del self._workers[worker_id]

    async def drain(self, seconds: float) -> None:
        """Let all workers finish what they run, for `seconds` at most, and end them."""
        self._draining = True
        self._tell()
        self._report()
        if self._connection.session.is_up:
            await self._wait_ended(seconds)
        for worker in self._living():
            self._end(worker, PLANNED, "its host ends")
        await self._wait_ended(KILL_DELAY_SECONDS + _CLOSE_SECONDS)

    async def close(self) -> None:
        """End everything: processes that do not follow SIGTERM at once are killed."""
        if self._closing:
            return
        self._closing = True
        try:
            for worker in self._living():
                self._end(worker, PLANNED, "its host ends")
            await self._wait_ended(_CLOSE_SECONDS)
        finally:
            self._loop.remove_reader(self._zygote.fileno())
            self._zygote.close()
            self._on_zygote_events()
            for timer in (self._telling, self._report_timer, *self._timers.values()):
                if timer is not None:
                    timer.cancel()
            self._peer.close("the worker host ends", _LINGER_SECONDS)
            self._records.close()
            self._undump()

    # ---- processes

    def _fork(self, worker: Hosted) -> None:
        """Have a worker's current process forked, by a new zygote if the last one has failed before it was of use."""
        if self._zygote_failed:
            self._zygote_failed = False
            self._zygote = self._adopt(Zygote(_PRELOAD))
        self._by_key[worker.key] = worker
        arguments = ProcessArguments(
            worker_id=worker.worker_id,
            incarnation=worker.incarnation,
            group_id=worker.group_id,
            host_id=self.host_id,
            slot=worker.slot,
            scheduler_address=self._scheduler_address,
            object_storage_address=self._object_storage_address,
            capabilities=worker.capabilities,
            lender=worker.lender,
            worker_config=self._config,
            logging_config=self._logging_config,
            preload=self._preload,
            io_threads=self._io_threads,
            sys_path=_module_path(),
            directory=str(Path.cwd()),
        )
        self._zygote.start(worker.key, _TARGET, arguments, (self._records.descriptor,), keeps_stderr=True)
        self._set_state(worker, STARTING)

    def _end(
        self, worker: Hosted, why: str, reason: str = "", *, task: Running | None = None, kill: bool = False
    ) -> None:
        """Ask a process to end; what was asked first counts, except that a stop replaces nothing."""
        if worker.asked is None or why == PLANNED:
            worker.asked, worker.asked_for = why, task
        self._zygote.signal(worker.key, signal.SIGKILL if kill else signal.SIGTERM)
        self._suspend(worker, suspended=False)  # a stopped process does not end
        if worker.kill_timer is None and not kill:
            key = worker.key
            worker.kill_timer = self._loop.call_later(
                KILL_DELAY_SECONDS, lambda: self._zygote.signal(key, signal.SIGKILL)
            )
        if why == PLANNED:
            self._set_state(worker, STOPPING, reason)

    def _adopt(self, zygote: Zygote) -> Zygote:
        self._zygote_works = False
        self._loop.add_reader(zygote.fileno(), self._on_zygote_events)
        return zygote

    def _on_zygote_events(self) -> None:
        for event in self._zygote.events():
            if isinstance(event, ZygoteEnded):
                self._on_zygote_ended(event.reason)
            elif (worker := self._by_key.get(event.key)) is None:
                for descriptor in event.descriptors if isinstance(event, Said) else ():
                    os.close(descriptor)
            elif isinstance(event, Started):
                worker.pid = event.pid
                self._tell()
            elif isinstance(event, Said):
                self._on_said(worker, event.message, event.descriptors)
            else:
                self._on_ended(worker, event)

    def _on_said(self, worker: Hosted, message: object, descriptors: tuple[int, ...]) -> None:
        match message:
            case ("ready",):
                self._zygote_works = True
                worker.ready_at = time.monotonic()
                if worker.state == STARTING:
                    self._set_state(worker, READY)
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
        kept = not self._draining and not self._closing and not worker.lender
        self._bury(worker, ending, replace=ending.replaced and kept)

    def _on_zygote_ended(self, reason: str) -> None:
        """All processes are gone with the zygote. A new one, and new processes, unless this one never worked."""
        self._loop.remove_reader(self._zygote.fileno())
        if self._closing:
            return
        _log.error("%s", reason)
        living, works = self._living(), self._zygote_works
        if works:
            self._zygote = self._adopt(Zygote(_PRELOAD))
        else:
            self._zygote_failed = True
        for worker in living:
            facts = self._facts(worker, Ended(worker.key, worker.pid or 0, None, signal.SIGKILL))
            ending = judge(facts)
            if worker.asked is None:
                detail = f"worker {worker.worker_id} could not start" if worker.pid is None else ending.detail
                ending = Ending(ending.cause, ending.code, works, f"{detail}: {reason}")
            kept = works and not self._draining and not worker.lender
            self._bury(worker, ending, replace=ending.replaced and kept)

    def _facts(self, worker: Hosted, ended: Ended) -> ProcessFacts:
        memory = [f"{rss >> 20} MiB in use when last measured"] if (rss := self._usage.of(worker.worker_id).rss) else []
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
            timeout_seconds=self._config.task_timeout_seconds,
        )

    def _bury(self, worker: Hosted, ending: Ending, *, replace: bool) -> None:
        running = worker.record.running()
        del self._by_key[worker.key]
        if worker.kill_timer is not None:
            worker.kill_timer.cancel()
        self._records.give_back(worker.slot)
        for written in worker.last_output():
            if worker.asked != CANCELLED:
                self._peer.send(written)
        self._peer.send(
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
            del self._helpers[worker.worker_id]
            self._tell()
            return
        if not replace:
            self._set_state(worker, ENDED, worker.failure or ending.detail)
            self._end_helpers(worker.worker_id)
            return
        slot, record = self._records.take()
        following = Hosted(worker.worker_id, worker.group_id, worker.capabilities, worker.incarnation + 1, slot, record)
        self._workers[worker.worker_id] = following
        self._fork(following)

    def _living(self) -> list[Hosted]:
        return list(self._by_key.values())

    # ---- the scheduler

    def _on_session(self, event: SessionEvent, _now: float) -> None:
        if isinstance(event, Up):
            self._report()
        elif isinstance(event, Down):
            self._resume_all()
        elif isinstance(event, Rejected):
            _log.error("the scheduler refuses this worker host: %s", event.reason)
        else:
            self._on_message(event.message)

    def _on_message(self, message: m.Message) -> None:
        if isinstance(message, m.EndTask):
            self._on_end_task(message)
        elif isinstance(message, m.WorkersDrained):
            for worker_id in message.worker_ids:
                worker = self._workers.get(worker_id)
                if self._draining and worker is not None and worker.state != ENDED:
                    self._end(worker, PLANNED, "drained")
        elif isinstance(message, m.LendSlot):
            self._on_lend(message)
        elif isinstance(message, m.EndHelpers):
            for helper in filter(None, map(self._helpers.get, message.helper_ids)):
                self._end(helper, PLANNED, "it is not needed any more")
        elif isinstance(message, m.SuspendWorker):
            worker = self._find(message.worker_id)
            if worker is not None and worker.incarnation == message.incarnation and worker.asked is None:
                self._suspend(worker, suspended=message.suspended)
        elif isinstance(message, m.Shutdown):  # the workers get it too, those that can hear it
            self._resume_all()
        else:
            _log.warning("ignored an unexpected %s", type(message).__name__)

    def _on_end_task(self, message: m.EndTask) -> None:
        worker = self._find(message.worker_id)
        if worker is None or worker.incarnation != message.incarnation or worker.asked is not None:
            return
        running = worker.record.running()
        if running is None or running.slice_id != message.slice_id or message.task not in {running.task, m.ANY_TASK}:
            return
        _log.info("ending task %d of slice %d on worker %s", running.task, running.slice_id, worker.worker_id)
        self._end(worker, CANCELLED, task=running)

    def _find(self, worker_id: str) -> Hosted | None:
        return self._workers.get(worker_id) or self._helpers.get(worker_id)

    def _on_lend(self, message: m.LendSlot) -> None:
        """Start a helper; where that cannot be, the scheduler learns it as it does of a process that ended."""
        lender = self._find(message.worker_id)
        try:
            if self._closing or lender is None or lender.incarnation != message.incarnation or lender.asked is not None:
                raise OSError(f"the process of worker {message.worker_id} has ended")  # noqa: TRY301
            slot, record = self._records.take()
        except OSError as error:
            self._peer.send(m.ProcessEnded(message.helper_id, 1, PLANNED, 0, 0, 0, replaced=False, detail=str(error)))
            return
        helper = Hosted(
            message.helper_id, lender.group_id, lender.capabilities, 1, slot, record, lender=lender.worker_id
        )
        self._helpers[helper.worker_id] = helper
        self._fork(helper)

    def _end_helpers(self, worker_id: str, *, kill: bool = False) -> None:
        """End a worker's helpers: it is gone, or about to go."""
        for helper in self._helpers.values():
            if root_of(helper.worker_id) == worker_id:
                self._end(helper, PLANNED, f"worker {worker_id} ends", kill=kill)

    def _suspend(self, worker: Hosted, *, suspended: bool) -> None:
        """Stop a process whose slot is lent, with everything that its task has started, or let it go on."""
        if worker.suspended is not suspended:
            worker.suspended = suspended
            self._zygote.signal(worker.key, signal.SIGSTOP if suspended else signal.SIGCONT)

    def _resume_all(self) -> None:
        """Let everybody speak: the scheduler is gone or ends, and with it what it knew of lent slots."""
        for worker in self._living():
            self._suspend(worker, suspended=False)

    def _report(self) -> None:
        """Tell the scheduler of all workers."""
        if self._report_timer is not None:
            self._report_timer.cancel()
            self._report_timer = None
        self._reported_at = time.monotonic()
        self._peer.send(
            m.HostReport(
                [self._entry(worker) for worker in self._living()],
                cpu=self._usage.host.cpu,
                rss=self._usage.host.rss,
                free_memory=self._usage.free_memory,
                round_trip_seconds=self._connection.round_trip_seconds,
            )
        )

    def _entry(self, worker: Hosted) -> m.WorkerReport:
        usage = self._usage.of(worker.worker_id)
        leaves = worker.state == STOPPING or (self._draining and not worker.lender)  # a helper serves to the end
        state = "draining" if leaves else _REPORTED[worker.state]
        has_task = worker.record.running() is not None
        return m.WorkerReport(
            worker.worker_id,
            worker.group_id,
            worker.incarnation,
            worker.pid or 0,
            state,
            cpu=usage.cpu,
            rss=usage.rss,
            has_task=has_task,
            task_lock=has_task,
        )

    # ---- time

    def _repeat(self, action: Callable[[], None], seconds: float) -> None:
        def again() -> None:
            self._timers[action] = self._loop.call_later(seconds, again)
            action()

        self._timers[action] = self._loop.call_later(seconds, again)

    def _beat(self) -> None:
        """Look at the processes, and report them: also a sign of life."""
        pids: dict[str, list[int]] = {}
        for worker in self._living():
            if worker.pid is not None:
                pids.setdefault(root_of(worker.worker_id), []).append(worker.pid)
        self._usage = self._meter.measure(pids, time.monotonic())
        for worker in self._living():
            if worker.pid is not None and worker.state in {READY, STOPPED}:
                state = STOPPED if not worker.suspended and is_stopped(worker.pid) else READY
                if state != worker.state:
                    self._set_state(worker, state)
        self._watch_zygote()
        self._report()

    def _watch_zygote(self) -> None:
        """Replace a zygote that is stopped for too long: nothing can be started or ended without it."""
        now = time.monotonic()
        if self._closing or not is_stopped(self._zygote.pid):
            self._zygote_stopped_at = None
        elif self._zygote_stopped_at is None:
            self._zygote_stopped_at = now
        elif now - self._zygote_stopped_at >= ZYGOTE_STOPPED_SECONDS:
            _log.error("process %d, which forks the workers, was stopped for too long: it is killed", self._zygote.pid)
            os.kill(self._zygote.pid, signal.SIGKILL)  # not reaped yet, so that the number is its own

    def _watch_tasks(self) -> None:
        """End processes whose task has run for longer than the limit."""
        now = time.monotonic()
        seconds, self._watched_at = now - self._watched_at, now
        lenders = {helper.lender for helper in self._helpers.values() if helper.record.running() is not None}
        for worker in self._living():
            is_lent = worker.suspended or worker.worker_id in lenders
            running = worker.seconds_running(now, seconds if is_lent else 0.0)
            if worker.asked is None and running >= self._config.task_timeout_seconds:
                self._end(worker, TIMEOUT, task=worker.seen)

    # ---- word of changes

    def _set_state(self, worker: Hosted, state: str, reason: str = "") -> None:
        worker.state, worker.reason = state, reason
        self._tell()

    def _tell(self) -> None:
        if self._telling is None:
            self._telling = self._loop.call_soon(self._tell_now)

    def _tell_now(self) -> None:
        self._telling = None
        self._changed.set()
        due = self._reported_at + _REPORT_SECONDS - time.monotonic()
        if due <= 0:
            self._report()
        elif self._report_timer is None:
            self._report_timer = self._loop.call_later(due, self._report)
        self._on_change()

    async def _wait_ended(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while self._by_key:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return


def _module_path() -> tuple[str, ...]:
    """Return where processes look for modules: as this program does, and in its working directory."""
    here = str(Path.cwd())
    path = [entry or here for entry in sys.path]
    return tuple(path if here in path else [here, *path])


_REPORTED = {STARTING: "starting", READY: "running", STOPPED: "stopped"}
