"""The scheduler as a program: the core behind its socket, as a command or as a child of a launcher."""

import asyncio
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import zmq

from scaler_protocol.addresses import Address
from scaler_protocol.identifiers import new_id
from scaler_runtime.config import ConfigError
from scaler_runtime.logging import setup_logging, warn_if_exposed
from scaler_runtime.program import run_program
from scaler_runtime.server import Server
from scaler_runtime.sessions import Patience, Sessions
from scaler_runtime.transport import BindError
from scaler_scheduler.config import SchedulerConfig
from scaler_scheduler.core.scheduler import SchedulerCore
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.listening import listen
from scaler_scheduler.monitor import Monitor
from scaler_scheduler.policies.registry import parse_policy
from scaler_scheduler.storage_figures import StorageFigures

SCHEDULER, MONITOR = "scheduler", "monitor"
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

    def say(self, message: object) -> None:
        """Send one picklable message."""
        ...


def run(config: SchedulerConfig) -> int:
    """Run the command: serve until asked to stop, and return the exit code. `BindError` where it cannot listen."""
    setup_logging(config.logging_config)
    return run_program(partial(serve, config, on_listening=_announce), config.process_config)


def run_child(arguments: tuple[SchedulerConfig, int], channel: Channel, *, for_good: bool = False) -> int:
    """Run as a child that ends with its parent; it says `("listening", address)`, or `("failed", line)`."""
    config, parent_pid = arguments

    def on_listening(role: str, address: Address) -> None:
        if role == SCHEDULER:
            channel.say(("listening", str(address)))

    try:
        setup_logging(config.logging_config)
        main = partial(serve, config, on_listening=on_listening, for_good=for_good)
        return run_program(main, config.process_config, parent_pid)
    except (BindError, ConfigError) as error:
        channel.say(("failed", str(error)))
        return 1


def run_child_for_good(arguments: tuple[SchedulerConfig, int], channel: Channel) -> int:
    """Run as `run_child` does, but nobody will start it again: asked to stop, it tells its peers not to wait for it."""
    return run_child(arguments, channel, for_good=True)


async def serve(
    config: SchedulerConfig, stopping: asyncio.Event, *, on_listening: OnListening, for_good: bool = False
) -> int:
    """Serve until `stopping` is set or a client shuts the scheduler down; with `for_good` its peers are told to end."""
    instance_id = new_id()
    context: zmq.Context[Any] = zmq.Context(config.process_config.worker_io_threads)
    sessions = Sessions(
        instance_id,
        {
            "client": Patience(config.client_timeout_seconds, None),
            "worker": Patience(None, DETACHED_SECONDS),
            "host": Patience(config.worker_timeout_seconds, DETACHED_SECONDS),
            "adapter": Patience(ADAPTER_SILENT_SECONDS, DETACHED_SECONDS),
        },
        max_unfinished_tasks=MAX_UNFINISHED_TASKS,
        max_unfinished_bytes=MAX_UNFINISHED_BYTES,
        object_storage_address="" if config.object_storage_address is None else str(config.object_storage_address),
    )
    try:
        listening = listen(context, config)
        core = SchedulerCore(_settings(config, listening.scheduler.address, instance_id), time.monotonic())
        server = Server(listening.scheduler, core, sessions)
        monitor = Monitor(
            listening.monitor, core.state, server, StorageFigures(context, listening.object_storage_address)
        )
        warn_if_exposed(server.address)
        on_listening(SCHEDULER, server.address)
        on_listening(MONITOR, listening.monitor.address)
        stopper = asyncio.create_task(_stop_when(stopping, server, for_good=for_good))
        try:
            monitor.start()
            await server.run()
        finally:
            monitor.close()
            stopper.cancel()
    finally:
        context.destroy(linger=0)
    return 0


async def _stop_when(stopping: asyncio.Event, server: Server, *, for_good: bool) -> None:
    await stopping.wait()
    if for_good:
        server.end("the scheduler was asked to end")
    else:
        server.stop()


def _settings(config: SchedulerConfig, address: Address, instance_id: bytes) -> Settings:
    return Settings(
        policies=parse_policy(config.policy.policy_content),
        address=str(address),
        protected=config.protected,
        max_number_of_tasks_waiting=config.max_number_of_tasks_waiting,
        worker_timeout_seconds=config.worker_timeout_seconds,
        task_retry_limit=config.task_retry_limit,
        id_prefix=instance_id.hex()[:12],
    )


def _announce(role: str, address: Address) -> None:
    sys.stdout.write(f"{role} listening on {address}\n")
    sys.stdout.flush()
