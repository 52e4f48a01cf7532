"""A worker's process, from fork to end: the main thread runs tasks, an IO thread talks to the scheduler.

The zygote imports this module once for all workers; it must not make threads or sockets when imported.
"""

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from typing import NoReturn

import zmq

from scaler_client import context as client_context
from scaler_client.context import Home, set_home
from scaler_protocol import codec
from scaler_protocol import messages as m
from scaler_protocol.addresses import Address
from scaler_runtime.connection import Connection
from scaler_runtime.dump import add_sections, dump_on_signal, write_dump
from scaler_runtime.logging import setup_logging
from scaler_runtime.options import LoggingConfig, WorkerConfig
from scaler_runtime.peer_loop import PeerLoop
from scaler_runtime.session import Identity, SessionEvent, Up
from scaler_runtime.zygote_events import Channel
from scaler_runtime.zygote_process import flush_output
from scaler_worker.agent import Agent
from scaler_worker.context import RunningContext
from scaler_worker.executor import Executor
from scaler_worker.housekeeping import Housekeeping
from scaler_worker.outcomes import Outcomes
from scaler_worker.output import Output
from scaler_worker.preload import PreloadSpecError, execute_preload
from scaler_worker.record import open_record
from scaler_worker.storage import Storage
from scaler_worker.workload import Workload

SWITCH_SECONDS = 0.001
"""How long the main thread may keep the interpreter while the IO thread wants it."""

_BEATS_OF_HOST = 5.0
"""While its host beats so often, a worker's process does once: only to hear whether the scheduler is still there."""

_LINGER_SECONDS = 0.2
_STDERR = 2
_THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessArguments:
    """What a process is told when it is forked. Its slot of the records' descriptor comes with it."""

    worker_id: str
    incarnation: int
    group_id: str
    host_id: bytes
    slot: int
    scheduler_address: Address
    object_storage_address: Address | None
    capabilities: m.Capabilities
    lender: str
    worker_config: WorkerConfig
    logging_config: LoggingConfig
    preload: str | None
    io_threads: int
    sys_path: tuple[str, ...]
    directory: str


def prepare() -> None:
    """Do once, in the zygote, what all workers have in common: what is there when they are forked, they share."""
    for name in _THREAD_LIMITS:  # one thread for a worker's arithmetic, as there is one worker for each core
        os.environ.setdefault(name, "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # a killed process loses nothing of what its tasks printed
    faulthandler.enable(_STDERR, all_threads=False)
    codec.decode(codec.encode(m.Packet(0, 0, [m.Heartbeat()])))  # the first message takes up memory for good


def run(arguments: ProcessArguments, channel: Channel) -> int:
    """Serve as this worker, until it is ended or leaves.

    Says `("ready",)` once registered, `("failed", one line)` when that cannot be, and `("leaving", one line)` before it
    ends by its own decision: its task has nothing to do with it.
    """
    _settle_in(arguments)
    if arguments.preload is not None:
        try:
            execute_preload(arguments.preload)
        except BaseException as error:  # noqa: BLE001 - whatever the user's function raises, SystemExit too
            cause = f"preload {arguments.preload!r} failed: {type(error).__name__}: {error}"
            is_users_doing = not isinstance(error, PreloadSpecError)  # else the line says it all
            _log.error("worker %s: %s", arguments.worker_id, cause, exc_info=is_users_doing)
            channel.say(("failed", cause))
            return 1
    return WorkerProcess(arguments, channel).run()


class WorkerProcess:
    """Both threads, and what they have in common. The IO thread's owner."""

    def __init__(self, arguments: ProcessArguments, channel: Channel) -> None:
        config = arguments.worker_config
        self._arguments = arguments
        self._channel = channel
        self._has_said_ready = False
        self._is_dump_wanted = False
        beat_seconds = min(_BEATS_OF_HOST * config.heartbeat_interval_seconds, config.death_timeout_seconds / 3)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(arguments.io_threads)
        identity = Identity("worker", arguments.worker_id)
        self._connection = Connection(context, arguments.scheduler_address, identity, beat_seconds)
        self._record = record = open_record(channel.descriptors[0], arguments.slot)
        if client_context.home is not None:
            client_context.home.tell_waiting(record.note_waiting)
        self._storage = Storage(context, arguments.worker_id)
        workload, outcomes = Workload(record), Outcomes()
        self._loop = PeerLoop(self._connection, self)
        self._output = Output(channel.say, self._loop.wake)
        self._is_output_watched = False
        self._agent = Agent(
            _hello(arguments),
            workload,
            outcomes,
            self._output,
            send=self._connection.send,
            wake=self._loop.wake,
            unacknowledged_bytes=lambda: self._connection.session.unacknowledged_bytes,
            heartbeat_seconds=beat_seconds,
            death_timeout_seconds=config.death_timeout_seconds,
        )
        told = arguments.object_storage_address
        self._storage.use("" if told is None else str(told))
        self._context = RunningContext(record, str(arguments.scheduler_address), self._storage.address)
        housekeeping = Housekeeping(config.garbage_collect_interval_seconds, config.trim_memory_threshold_bytes)
        self._executor = Executor(
            workload,
            outcomes,
            record,
            context=self._context,
            sender=self._agent,
            housekeeping=housekeeping,
            storage=self._storage,
            output=self._output,
        )

    def run(self) -> NoReturn:
        """Run tasks until the IO thread ends the process."""
        sys.setswitchinterval(SWITCH_SECONDS)
        add_sections({"worker": self.describe})
        dump_on_signal(self._ask_for_dump)
        threading.Thread(target=self._loop.run, name="scaler-io", daemon=True).start()
        self._executor.run()

    def describe(self) -> Iterator[str]:
        """Return where it stands, a line at a time, for people."""
        yield f"{self._arguments.worker_id} incarnation {self._arguments.incarnation}, group {self._arguments.group_id}"
        yield f"runs {self._record.running()}"
        yield from self._connection.describe(time.monotonic())
        yield from self._agent.describe()

    def _ask_for_dump(self) -> None:
        """Leave it to the IO thread: this one is in the middle of a task."""
        self._is_dump_wanted = True
        self._loop.wake()

    # ---- the IO thread's owner

    def on_event(self, event: SessionEvent, now: float) -> None:
        """See `PeerOwner`."""
        if isinstance(event, Up) and self._arguments.object_storage_address is None:
            self._storage.use(event.registered.object_storage_address)
            self._context.object_storage_address = self._storage.address
        self._agent.on_event(event, now)

    def on_wake(self, now: float) -> None:
        """See `PeerOwner`."""
        if self._is_dump_wanted:
            self._is_dump_wanted = False
            _log.warning("%s", write_dump())
        self._agent.on_wake(now, self._connection.heard_at)
        if not self._is_output_watched and self._output.descriptor is not None:
            self._is_output_watched = True
            self._loop.watch(self._output.descriptor)
        if self._agent.end is not None:
            self._end(self._agent.end.code, self._agent.end.reason)
        if self._agent.registered is not None and not self._has_said_ready:
            self._has_said_ready = True
            self._channel.say(("ready",))

    def next_wakeup(self) -> float | None:
        """See `PeerOwner`."""
        return self._agent.next_wakeup()

    def _end(self, code: int, reason: str) -> NoReturn:
        """End the process from the IO thread: the main one may be in the middle of a task."""
        _log.log(logging.INFO if code == 0 else logging.ERROR, "worker %s ends: %s", self._arguments.worker_id, reason)
        self._channel.say(("leaving", reason))
        for written in self._output.drain():
            self._connection.send(written)
        self._connection.close(reason, _LINGER_SECONDS)
        flush_output()
        os._exit(code)


def _settle_in(arguments: ProcessArguments) -> None:
    """Take on what belongs to this worker, before anything of the user's is imported."""
    set_home(Home(arguments.worker_id, arguments.incarnation))
    sys.path[:] = arguments.sys_path
    os.chdir(arguments.directory)
    setup_logging(arguments.logging_config)


def _hello(arguments: ProcessArguments) -> m.WorkerHello:
    return m.WorkerHello(
        worker_id=arguments.worker_id,
        incarnation=arguments.incarnation,
        host_id=arguments.host_id,
        group_id=arguments.group_id,
        queue_size=1 if arguments.lender else arguments.worker_config.per_worker_task_queue_size,
        pid=os.getpid(),
        capabilities=dict(arguments.capabilities),
        lender=arguments.lender,
        suspends=arguments.worker_config.hard_processor_suspend,
    )
