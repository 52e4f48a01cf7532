"""The object storage as a program: a command, or a child of a launcher."""

import asyncio
import logging
import os
import select
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import zmq

from scaler_object_storage.config import ObjectStorageConfig
from scaler_object_storage.disk import remove_all_stale
from scaler_object_storage.driver import ObjectStorageServer
from scaler_object_storage.errors import DirectoryError
from scaler_object_storage.hosted import Hosted
from scaler_object_storage.limits import Limits
from scaler_protocol.addresses import Address
from scaler_runtime.config import ConfigError
from scaler_runtime.dump import add_sections
from scaler_runtime.gate import raise_descriptor_limit
from scaler_runtime.logging import setup_logging, warn_if_exposed
from scaler_runtime.options import LoggingConfig, ProcessConfig
from scaler_runtime.program import Main, ProgramError, run_program
from scaler_runtime.transport import BindError

RETENTION_SECONDS = 60.0
"""Objects of a server that ended without order are kept so long for the next one at its address."""

_log = logging.getLogger(__name__)


class Channel(Protocol):
    """The way to the process that owns the launcher."""

    @property
    def owner_pid(self) -> int:
        """That process."""
        ...

    def say(self, message: object) -> None:
        """Send one picklable message."""
        ...


def run(config: ObjectStorageConfig) -> int:
    """Run the command: serve until asked to stop, then remove all objects. Returns the exit code.

    Raises `BindError` where it cannot listen, `ProgramError` where it has no place for objects.
    """
    setup_logging(LoggingConfig())
    return run_program(partial(serve, config, on_listening=_announce), ProcessConfig())


def run_child(arguments: tuple[tuple[ObjectStorageConfig, LoggingConfig], int], channel: Channel) -> int:
    """Run as a child that ends with its parent; it says `("listening", address)`, or `("failed", line)`.

    On SIGTERM it ends in order and removes the objects; when its parent is gone, it leaves them to the next server.
    """
    (config, logging_config), parent_pid = arguments

    def on_listening(address: Address) -> None:
        warn_if_exposed(address)
        channel.say(("listening", str(address)))

    main = partial(serve, config, on_listening=on_listening, keeps_objects=lambda: os.getppid() != parent_pid)
    return _run_child(main, logging_config, ProcessConfig(), channel, parent_pid)


def run_hosted(hosted: Hosted, channel: Channel) -> int:
    """Run as a child beside a scheduler; says the same.

    However it ends, it leaves the objects to the next server, unless nobody is there who would start one: the scheduler
    that asks it to end removes them itself.
    """
    scheduler = _open_process(channel.owner_pid)
    heir = None if hosted.heir_pid is None else _open_process(hosted.heir_pid)

    def on_listening(address: Address) -> None:
        channel.say(("listening", str(address)))

    def keeps_objects() -> bool:
        return hosted.heir_pid is None or _lives(scheduler) or _lives(heir)

    main = partial(
        serve,
        hosted.config,
        on_listening=on_listening,
        keeps_objects=keeps_objects,
        io_threads=hosted.process_config.worker_io_threads,
    )
    return _run_child(main, hosted.logging_config, hosted.process_config, channel)


async def serve(
    config: ObjectStorageConfig,
    stopping: asyncio.Event,
    *,
    on_listening: Callable[[Address], None],
    keeps_objects: Callable[[], bool] = lambda: False,
    io_threads: int = 1,
) -> int:
    """Serve until `stopping` is set. `keeps_objects`: whether to leave them to another server, asked at the end."""
    try:
        limits = Limits.from_environment()
    except ValueError as error:
        raise ProgramError(str(error)) from error
    for path in remove_all_stale(limits, RETENTION_SECONDS, time.time()):
        _log.info("removed %s, which no server came back for", path)
    raise_descriptor_limit()
    context: zmq.Context[Any] = zmq.Context(io_threads)
    try:
        try:
            server = ObjectStorageServer(context, config.object_storage_address, limits=limits)
        except DirectoryError as error:
            raise ProgramError(str(error)) from error
        stopper = asyncio.create_task(_stop_when(stopping, server))
        undump = add_sections({"object storage": server.describe})
        try:
            on_listening(server.address)
            await server.run()
        finally:
            stopper.cancel()
            undump()
            server.close(keep_objects=keeps_objects())
    finally:
        context.term()
    return 0


async def _stop_when(stopping: asyncio.Event, server: ObjectStorageServer) -> None:
    await stopping.wait()
    server.stop()


def _run_child(
    main: Main,
    logging_config: LoggingConfig,
    process_config: ProcessConfig,
    channel: Channel,
    parent_pid: int | None = None,
) -> int:
    try:
        setup_logging(logging_config)
        return run_program(main, process_config, parent_pid)
    except (BindError, ConfigError, ProgramError) as error:
        channel.say(("failed", str(error)))
        return 1


def _open_process(pid: int) -> int | None:
    """Return a pidfd, None if there is no such process any more."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _lives(process: int | None) -> bool:
    """Whether the process behind a pidfd has not ended. (Its zygotes ask their children to end after that.)"""
    if process is None:
        return False
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return not poll.poll(0)


def _announce(address: Address) -> None:
    warn_if_exposed(address)
    sys.stdout.write(f"object storage listening on {address}\n")
    sys.stdout.flush()
