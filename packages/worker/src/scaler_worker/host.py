"""The supervisor of one machine's workers: does what its owner and the scheduler ask, reports, watches the time.

Runs in an asyncio loop that is there already.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import zmq

from scaler_protocol import messages as m
from scaler_protocol.addresses import Address
from scaler_protocol.identifiers import root_of, short_host_name
from scaler_runtime.connection import Connection
from scaler_runtime.dump import add_sections
from scaler_runtime.options import LoggingConfig, WorkerConfig
from scaler_runtime.peer_task import PeerTask
from scaler_runtime.session import Down, Identity, Rejected, SessionEvent, Up
from scaler_runtime.zygote import Zygote
from scaler_worker.endings import CANCELLED, PLANNED, TIMEOUT
from scaler_worker.hosted import ENDED, READY, STARTING, STOPPED, STOPPING, Hosted, WorkerStatus
from scaler_worker.machine import is_stopped
from scaler_worker.process import ProcessArguments
from scaler_worker.processes import KILL_DELAY_SECONDS, Processes
from scaler_worker.usage import HostUsage, UsageMeter

_CLOSE_SECONDS = 0.5
_LINGER_SECONDS = 0.2
_WATCH_SECONDS = 0.1
_REPORT_SECONDS = 0.02
"""Reports are no closer together than this: when many workers start at once, each has several changes."""

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
        self._meter = UsageMeter()
        self._usage = HostUsage()
        self._changed = asyncio.Event()
        self._telling: asyncio.Handle | None = None
        self._reported_at = 0.0
        self._watched_at = time.monotonic()
        self._report_timer: asyncio.TimerHandle | None = None
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}
        self._processes = Processes(
            zygote,
            arguments=self._arguments,
            timeout_seconds=worker_config.task_timeout_seconds,
            memory_of=self._memory_of,
            send=self._send,
            changed=self._tell,
        )
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
        yield f"zygote {self._processes.zygote.pid}{'' if self._processes.zygote_works else ', not proven yet'}"
        yield f"draining {self._processes.draining}, closing {self._processes.closing}"
        for worker in (*self._processes.workers.values(), *self._processes.helpers.values()):
            yield f"{worker.status}, asked {worker.asked} for {worker.asked_for}, runs {worker.record.running()}"

    @property
    def heard_at(self) -> float | None:
        """When the scheduler was heard last, by `time.monotonic`; None before the first time."""
        return self._connection.heard_at

    def workers(self) -> dict[str, WorkerStatus]:
        """Return all workers that are not forgotten."""
        return {worker.worker_id: worker.status for worker in self._processes.workers.values()}

    def start(self, group_id: str, worker_id: str, capabilities: m.Capabilities | None = None) -> None:
        """Start a worker; `OSError` where the machine has no room for its record."""
        if worker_id in self._processes.workers:
            raise ValueError(f"worker {worker_id} exists")
        offered = dict(self._config.per_worker_capabilities) if capabilities is None else dict(capabilities)
        self._processes.start(worker_id, group_id, offered)

    def stop(self, worker_id: str, *, kill: bool = False) -> None:
        """End a worker: SIGTERM, SIGKILL after `KILL_DELAY_SECONDS`, or at once."""
        worker = self._processes.workers[worker_id]
        if worker.state != ENDED:
            self._processes.end(worker, PLANNED, "it is to stop", kill=kill)
        self._processes.end_helpers(worker_id, kill=kill)

    def forget(self, worker_id: str) -> None:
        """Drop a worker that has ended."""
        if self._processes.workers[worker_id].state != ENDED:
            raise ValueError(f"worker {worker_id} has not ended")
        del self._processes.workers[worker_id]

    async def drain(self, seconds: float) -> None:
        """Let all workers finish what they run, for `seconds` at most, and end them."""
        self._processes.draining = True
        self._tell()
        self._report()
        if self._connection.session.is_up:
            await self._wait_ended(seconds)
        for worker in self._processes.living():
            self._processes.end(worker, PLANNED, "its host ends")
        await self._wait_ended(KILL_DELAY_SECONDS + _CLOSE_SECONDS)

    async def close(self) -> None:
        """End everything: processes that do not follow SIGTERM at once are killed."""
        if self._processes.closing:
            return
        self._processes.closing = True
        try:
            for worker in self._processes.living():
                self._processes.end(worker, PLANNED, "its host ends")
            await self._wait_ended(_CLOSE_SECONDS)
        finally:
            self._processes.close()
            for timer in (self._telling, self._report_timer, *self._timers.values()):
                if timer is not None:
                    timer.cancel()
            self._peer.close("the worker host ends", _LINGER_SECONDS)
            self._undump()

    def _memory_of(self, worker_id: str) -> int:
        return self._usage.of(worker_id).rss

    def _send(self, message: m.Message) -> None:
        self._peer.send(message)

    def _arguments(self, worker: Hosted) -> ProcessArguments:
        return ProcessArguments(
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
                worker = self._processes.workers.get(worker_id)
                if self._processes.draining and worker is not None and worker.state != ENDED:
                    self._processes.end(worker, PLANNED, "drained")
        elif isinstance(message, m.LendSlot):
            self._on_lend(message)
        elif isinstance(message, m.EndHelpers):
            for helper in filter(None, map(self._processes.helpers.get, message.helper_ids)):
                self._processes.end(helper, PLANNED, "it is not needed any more")
        elif isinstance(message, m.SuspendWorker):
            worker = self._processes.find(message.worker_id)
            if worker is not None and worker.incarnation == message.incarnation and worker.asked is None:
                self._processes.suspend(worker, suspended=message.suspended)
        elif isinstance(message, m.Shutdown):  # the workers get it too, those that can hear it
            self._resume_all()
        else:
            _log.warning("ignored an unexpected %s", type(message).__name__)

    def _on_end_task(self, message: m.EndTask) -> None:
        worker = self._processes.find(message.worker_id)
        if worker is None or worker.incarnation != message.incarnation or worker.asked is not None:
            return
        running = worker.record.running()
        if running is None or running.slice_id != message.slice_id or message.task not in {running.task, m.ANY_TASK}:
            return
        _log.info("ending task %d of slice %d on worker %s", running.task, running.slice_id, worker.worker_id)
        self._processes.end(worker, CANCELLED, task=running)

    def _on_lend(self, message: m.LendSlot) -> None:
        """Start a helper; where that cannot be, the scheduler learns it as it does of a process that ended."""
        lender = self._processes.find(message.worker_id)
        try:
            if lender is None or lender.incarnation != message.incarnation or lender.asked is not None:
                raise OSError(f"the process of worker {message.worker_id} has ended")  # noqa: TRY301
            if self._processes.closing:
                raise OSError("the worker host ends")  # noqa: TRY301
            self._processes.start(message.helper_id, lender.group_id, lender.capabilities, lender.worker_id)
        except OSError as error:
            self._peer.send(m.ProcessEnded(message.helper_id, 1, PLANNED, 0, 0, 0, replaced=False, detail=str(error)))

    def _resume_all(self) -> None:
        """Let everybody speak: the scheduler is gone or ends, and with it what it knew of lent slots."""
        for worker in self._processes.living():
            self._processes.suspend(worker, suspended=False)

    def _report(self) -> None:
        """Tell the scheduler of all workers."""
        if self._report_timer is not None:
            self._report_timer.cancel()
            self._report_timer = None
        self._reported_at = time.monotonic()
        self._peer.send(
            m.HostReport(
                [self._entry(worker) for worker in self._processes.living()],
                cpu=self._usage.host.cpu,
                rss=self._usage.host.rss,
                free_memory=self._usage.free_memory,
                round_trip_seconds=self._connection.round_trip_seconds,
            )
        )

    def _entry(self, worker: Hosted) -> m.WorkerReport:
        usage = self._usage.of(worker.worker_id)
        drains = self._processes.draining and not worker.lender  # a helper serves to the end
        state = "draining" if drains or worker.state == STOPPING else _REPORTED[worker.state]
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
            task_lock=has_task and not worker.record.is_suspended,
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
        for worker in self._processes.living():
            if worker.pid is not None:
                pids.setdefault(root_of(worker.worker_id), []).append(worker.pid)
        self._usage = self._meter.measure(pids, time.monotonic())
        for worker in self._processes.living():
            if worker.pid is not None and worker.state in {READY, STOPPED}:
                state = STOPPED if not worker.suspended and is_stopped(worker.pid) else READY
                if state != worker.state:
                    self._processes.set_state(worker, state)
        self._processes.watch_zygote()
        self._report()

    def _watch_tasks(self) -> None:
        """End processes whose task has run for longer than the limit."""
        now = time.monotonic()
        seconds, self._watched_at = now - self._watched_at, now
        for worker in self._processes.living():
            running = worker.seconds_running(now, seconds if worker.record.is_suspended else 0.0)
            if worker.asked is None and running >= self._config.task_timeout_seconds:
                self._processes.end(worker, TIMEOUT, task=worker.seen)

    # ---- word of changes

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
                while self._processes.living():
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
