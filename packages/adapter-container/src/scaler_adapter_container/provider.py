"""Containers as an engine for the adapter: hands each call to the one thread that may block."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self

from scaler_adapter_container.config import ContainerWorkerAdapterConfig
from scaler_adapter_container.containers import Containers
from scaler_adapter_container.engine import Engine
from scaler_adapter_container.request import ADAPTER
from scaler_adapter_container.watch import Watch
from scaler_adapter_core.engine_thread import EngineThread
from scaler_adapter_core.provider import LaunchOutcome, LaunchSpec, OnChange, TerminateMode, Unit


class ContainerProvider:
    """See the module. To be made by `open`."""

    def __init__(self, thread: EngineThread, containers: Containers, watch: Watch, on_change: OnChange) -> None:
        self._thread = thread
        self._containers = containers
        self._watch = watch
        self._on_change = on_change

    @classmethod
    async def open(
        cls,
        config: ContainerWorkerAdapterConfig,
        tag: str,
        on_change: OnChange,
        *,
        open_engine: Callable[[], Engine] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Connect to the engine; `ProviderError` where there is none."""
        loop = asyncio.get_running_loop()
        thread = EngineThread("engine")
        connect = open_engine or partial(Engine.open, config.container_config.docker_host)

        def notice() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(on_change)

        try:
            containers = await thread.call(lambda: Containers(config, tag, connect, notice, clock))
        except BaseException:
            thread.close()
            raise
        return cls(thread, containers, Watch(connect, {ADAPTER: tag}, notice), on_change)

    async def launch(self, specs: Sequence[LaunchSpec]) -> list[LaunchOutcome]:
        """See `Provider`. A call that is cut off starts no further container."""
        cut_off = threading.Event()
        try:
            return await self._thread.call(lambda: self._containers.launch(specs, cut_off.is_set))
        except asyncio.CancelledError:
            cut_off.set()
            raise

    async def observe(self) -> list[Unit]:
        """See `Provider`."""
        return await self._thread.call(self._containers.observe)

    async def terminate(self, group_ids: Sequence[str], mode: TerminateMode, grace_seconds: float) -> None:
        """See `Provider`. Whoever looks after the grace finds out what has to be killed, and kills it."""
        await self._thread.call(lambda: self._containers.terminate(group_ids, mode, grace_seconds))
        asyncio.get_running_loop().call_later(grace_seconds, self._on_change)

    async def diagnose(self, group_id: str) -> str:
        """See `Provider`."""
        return await self._thread.call(lambda: self._containers.diagnose(group_id))

    async def close(self) -> None:
        """See `Provider`. Containers go on without the adapter, and are found again."""
        self._watch.close()
        self._thread.close(self._containers.close)
