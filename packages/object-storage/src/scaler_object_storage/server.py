"""The object storage as a program: a command, or a child of a launcher."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import zmq

from scaler_object_storage.config import ObjectStorageConfig
from scaler_object_storage.directory import remove_stale
from scaler_object_storage.driver import ObjectStorageServer
from scaler_object_storage.errors import DirectoryError
from scaler_protocol.addresses import Address
from scaler_runtime.logging import setup_logging, warn_if_exposed
from scaler_runtime.options import LoggingConfig, ProcessConfig
from scaler_runtime.program import ProgramError, run_program
from scaler_runtime.transport import BindError

RETENTION_SECONDS = 60.0
"""Objects of a server that ended without order are kept so long for the next one at its address."""

_log = logging.getLogger(__name__)


class Channel(Protocol):
    """The way to the process that owns the launcher."""

    def say(self, message: object) -> None:
        """Send one picklable message."""
        ...


def run(config: ObjectStorageConfig) -> int:
    """Run the command: serve until asked to stop, then remove all objects. Returns the exit code.

    Raises `BindError` where it cannot listen, `ProgramError` where it has no place for objects.
    """
    setup_logging(LoggingConfig())
    return run_program(partial(serve, config, on_listening=_announce), ProcessConfig())


def run_child(arguments: tuple[ObjectStorageConfig, int], channel: Channel) -> int:
    """Run as a child that ends with its parent; it says `("listening", address)`, or `("failed", line)`.

    On SIGTERM it ends in order and removes the objects; when its parent is gone, it leaves them to the next server.
    """
    config, parent_pid = arguments
    setup_logging(LoggingConfig())

    def on_listening(address: Address) -> None:
        channel.say(("listening", str(address)))

    main = partial(serve, config, on_listening=on_listening, parent_pid=parent_pid)
    try:
        return run_program(main, ProcessConfig(), parent_pid)
    except (BindError, ProgramError) as error:
        channel.say(("failed", str(error)))
        return 1


async def serve(
    config: ObjectStorageConfig,
    stopping: asyncio.Event,
    *,
    on_listening: Callable[[Address], None],
    parent_pid: int | None = None,
) -> int:
    """Serve until `stopping` is set."""
    for path in remove_stale(RETENTION_SECONDS, time.time()):
        _log.info("removed %s, which no server came back for", path)
    context: zmq.Context[Any] = zmq.Context()
    try:
        try:
            server = ObjectStorageServer(context, config.object_storage_address)
        except DirectoryError as error:
            raise ProgramError(str(error)) from error
        stopper = asyncio.create_task(_stop_when(stopping, server))
        try:
            warn_if_exposed(server.address)
            on_listening(server.address)
            await server.run()
        finally:
            stopper.cancel()
            server.close(keep_objects=parent_pid is not None and os.getppid() != parent_pid)
    finally:
        context.term()
    return 0


async def _stop_when(stopping: asyncio.Event, server: ObjectStorageServer) -> None:
    await stopping.wait()
    server.stop()


def _announce(address: Address) -> None:
    sys.stdout.write(f"object storage listening on {address}\n")
    sys.stdout.flush()
