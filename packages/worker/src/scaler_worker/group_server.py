"""Serves one worker group: its host and workers, until they are to stop or the last of them has ended."""

import asyncio
import logging
import signal
from functools import partial
from math import inf
from typing import Final

import zmq

from scaler_protocol.identifiers import worker_ids_of
from scaler_runtime.logging import setup_logging
from scaler_runtime.program import ProgramError, run_program
from scaler_worker.config import WorkerGroupConfig
from scaler_worker.host import WorkerHost
from scaler_worker.hosted import ENDED

DRAIN_SECONDS: Final = 5.0
_log = logging.getLogger(__name__)


def run(config: WorkerGroupConfig) -> int:
    """Run until asked to stop, and return 0. `ProgramError` says why the last worker has ended unasked."""
    setup_logging(config.logging_config)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(config.process_config.worker_io_threads)
    try:
        return run_program(partial(_serve, config, context), config.process_config)
    finally:
        context.destroy(linger=0)


async def _serve(config: WorkerGroupConfig, context: "zmq.Context[zmq.Socket[bytes]]", stopping: asyncio.Event) -> int:
    changed = asyncio.Event()
    host = WorkerHost(
        context,
        config.scheduler_address,
        config.name,
        config.worker_config,
        preload=config.preload,
        object_storage_address=config.object_storage_address,
        io_threads=config.process_config.worker_io_threads,
        logging_config=config.logging_config,
        on_change=changed.set,
    )
    leaving: list[asyncio.Task[None]] = []

    def leave() -> None:
        if not leaving:
            _log.info("the time of this job is nearly up: its workers take nothing new")
            leaving.append(asyncio.create_task(host.drain(inf)))

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, leave)
    try:
        for worker_id in worker_ids_of(config.group_id, config.name, config.num_of_workers):
            host.start(config.group_id, worker_id)
        if await _is_stopped(host, stopping, changed):
            await host.drain(DRAIN_SECONDS)
            return 0
        workers = host.workers().values()
        if leaving or all(worker.in_order for worker in workers):
            return 0
        reasons = {worker.reason for worker in workers if not worker.in_order}
        raise ProgramError(f"its last worker has ended: {'; '.join(sorted(reasons))}")
    finally:
        for task in leaving:
            task.cancel()
        await host.close()


async def _is_stopped(host: WorkerHost, stopping: asyncio.Event, changed: asyncio.Event) -> bool:
    """Wait until the program shall stop, or its last worker has ended; return whether it was the former."""
    stop = asyncio.ensure_future(stopping.wait())
    try:
        while any(worker.state != ENDED for worker in host.workers().values()):
            change = asyncio.ensure_future(changed.wait())
            await asyncio.wait({stop, change}, return_when=asyncio.FIRST_COMPLETED)
            change.cancel()
            changed.clear()
            if stop.done():
                return True
        return False
    finally:
        stop.cancel()
