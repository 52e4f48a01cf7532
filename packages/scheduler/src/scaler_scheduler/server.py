"""The scheduler as a program: the core behind its socket, as a command or as a child of a launcher."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import zmq

from scaler_protocol.addresses import Address
from scaler_protocol.identifiers import new_id
from scaler_runtime.config import ConfigError
from scaler_runtime.dump import add_sections
from scaler_runtime.gate import raise_descriptor_limit
from scaler_runtime.logging import setup_logging, warn_if_exposed
from scaler_runtime.program import ProgramError, run_program
from scaler_runtime.server import Server
from scaler_runtime.sessions import Patience, Sessions
from scaler_runtime.transport import BindError
from scaler_scheduler.config import SchedulerConfig
from scaler_scheduler.core.scheduler import SchedulerCore
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.listening import listen
from scaler_scheduler.monitor import Monitor
from scaler_scheduler.own_storage import OwnStorage
from scaler_scheduler.policies.registry import parse_policy
from scaler_scheduler.state_dump import scheduler_sections
from scaler_scheduler.storage_line import StorageLine

SCHEDULER, OBJECT_STORAGE, MONITOR = "scheduler", "object storage", "monitor"
LINGER_SECONDS = 1.0
"""What is still to be removed from an object storage that goes on gets so long at the end."""

MAX_UNFINISHED_TASKS = 500_000
MAX_UNFINISHED_BYTES = 128 << 20
"""The credit of each client: what it may have submitted that is not finished."""

ADAPTER_SILENT_SECONDS = 10.0
DETACHED_SECONDS = 3.0
"""How long the connection of a worker, host or adapter may be away before the scheduler does without it."""


OnListening = Callable[[str, Address], None]
"""Is told what listens where."""


class Channel(Protocol):
    """The way to the process that owns the launcher."""

    owner_pid: int

    def say(self, message: object) -> None:
        """Send one picklable message."""
        ...


def run(config: SchedulerConfig) -> int:
    """Run the command: serve until asked to stop, and return the exit code.

    `BindError` where it or its object storage cannot listen, `ProgramError` where that cannot be started.
    """
    setup_logging(config.logging_config)
    return _run(config, on_listening=_announce)


def run_child(arguments: tuple[SchedulerConfig, int], channel: Channel, *, for_good: bool = False) -> int:
    """Run as a child that ends with its parent; it says `("listening", address)`, or `("failed", line)`."""
    config, parent_pid = arguments

    def on_listening(role: str, address: Address) -> None:
        if role == SCHEDULER:
            channel.say(("listening", str(address)))

    try:
        setup_logging(config.logging_config)
        return _run(config, on_listening, for_good=for_good, parent_pid=parent_pid, heir_pid=channel.owner_pid)
    except (BindError, ConfigError, ProgramError) as error:
        channel.say(("failed", str(error)))
        return 1


def run_child_for_good(arguments: tuple[SchedulerConfig, int], channel: Channel) -> int:
    """Run as `run_child` does, but nobody will start it again: asked to stop, it tells its peers not to wait for it."""
    return run_child(arguments, channel, for_good=True)


def _run(
    config: SchedulerConfig,
    on_listening: OnListening,
    *,
    for_good: bool = False,
    parent_pid: int | None = None,
    heir_pid: int | None = None,
) -> int:
    own_storage = None
    if config.object_storage_address is None:
        own_storage = OwnStorage(config.logging_config, config.process_config, heir_pid)
    try:
        main = partial(serve, config, own_storage=own_storage, on_listening=on_listening, for_good=for_good)
        return run_program(main, config.process_config, parent_pid)
    finally:
        if own_storage is not None:
            own_storage.abandon()


async def serve(
    config: SchedulerConfig,
    stopping: asyncio.Event,
    *,
    own_storage: OwnStorage | None,
    on_listening: OnListening,
    for_good: bool = False,
) -> int:
    """Serve until `stopping` is set or a client shuts the scheduler down; with `for_good` its peers are told to end.

    `own_storage`: started here where the configuration names none.
    """
    raise_descriptor_limit()
    instance_id = new_id()
    context: zmq.Context[Any] = zmq.Context(config.process_config.worker_io_threads)
    async with contextlib.AsyncExitStack() as at_end:
        at_end.callback(context.destroy, linger=0)
        listening = listen(context, config)
        storage_address = listening.object_storage_address
        if own_storage is not None:
            at_end.push_async_callback(own_storage.close)
            await own_storage.until_free(storage_address)
        core = SchedulerCore(_settings(config, listening.scheduler.address, instance_id), time.monotonic())
        storage = StorageLine(context, storage_address)
        at_end.push_async_callback(storage.close, LINGER_SECONDS if own_storage is None else 0.0)
        server = Server(listening.scheduler, core, _sessions(config, storage_address, instance_id), storage)
        monitor = Monitor(listening.monitor, core.state, server, storage)
        at_end.callback(monitor.close)
        at_end.callback(add_sections(scheduler_sections(core, server, instance_id)))
        warn_if_exposed(server.address)
        on_listening(SCHEDULER, server.address)
        on_listening(MONITOR, listening.monitor.address)
        failures: list[str] = []
        if own_storage is not None:

            def on_failed(reason: str) -> None:
                failures.append(reason)
                server.stop()

            own_storage.start(storage_address, partial(on_listening, OBJECT_STORAGE, storage_address), on_failed)
        stopper = asyncio.create_task(_stop_when(stopping, server, for_good=for_good))
        at_end.callback(stopper.cancel)
        monitor.start()
        await server.run()
        if failures:
            raise ProgramError(failures[0])
    return 0


async def _stop_when(stopping: asyncio.Event, server: Server, *, for_good: bool) -> None:
    await stopping.wait()
    if for_good:
        server.end("the scheduler was asked to end")
    else:
        server.stop()


def _sessions(config: SchedulerConfig, object_storage_address: Address, instance_id: bytes) -> Sessions:
    return Sessions(
        instance_id,
        {
            "client": Patience(config.client_timeout_seconds, None),
            "worker": Patience(None, DETACHED_SECONDS),
            "host": Patience(config.worker_timeout_seconds, DETACHED_SECONDS),
            "adapter": Patience(ADAPTER_SILENT_SECONDS, DETACHED_SECONDS),
        },
        max_unfinished_tasks=MAX_UNFINISHED_TASKS,
        max_unfinished_bytes=MAX_UNFINISHED_BYTES,
        object_storage_address=str(object_storage_address),
    )


def _settings(config: SchedulerConfig, address: Address, instance_id: bytes) -> Settings:
    return Settings(
        policies=parse_policy(config.policy.policy_content),
        address=str(address),
        protected=config.protected,
        max_number_of_tasks_waiting=config.max_number_of_tasks_waiting,
        worker_timeout_seconds=config.worker_timeout_seconds,
        task_retry_limit=config.task_retry_limit,
        max_unfinished_tasks=MAX_UNFINISHED_TASKS,
        max_unfinished_bytes=MAX_UNFINISHED_BYTES,
        object_retention_seconds=config.object_retention_seconds,
        load_balance_seconds=config.load_balance_seconds,
        load_balance_trigger_times=config.load_balance_trigger_times,
        id_prefix=instance_id.hex()[:12],
        first_slice_id=int.from_bytes(instance_id[:5]) << 22,
    )


def _announce(role: str, address: Address) -> None:
    sys.stdout.write(f"{role} listening on {address}\n")
    sys.stdout.flush()
