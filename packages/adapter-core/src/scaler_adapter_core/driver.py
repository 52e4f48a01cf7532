"""Runs an adapter: its connection to the scheduler, the calls to its provider, its end. All decisions are the core's.

Whatever a provider does, raise or hang, heartbeats go on: calls are coroutines with a limit, one at a time.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import zmq

from scaler_adapter_core import events as e
from scaler_adapter_core.adapter import Adapter
from scaler_adapter_core.liveness import Silence
from scaler_adapter_core.model import AdapterProfile
from scaler_adapter_core.provider import OnChange, OpenProvider, Provider, ProviderError
from scaler_protocol.addresses import Address
from scaler_protocol.identifiers import new_id
from scaler_protocol.messages import AdapterCommand, Shutdown
from scaler_runtime.connection import Connection
from scaler_runtime.dump import add_sections
from scaler_runtime.options import ProcessConfig
from scaler_runtime.peer_task import PeerTask
from scaler_runtime.program import ProgramError, run_program
from scaler_runtime.session import Down, Identity, Incoming, Rejected, SessionEvent, Up

_STOP_CALL_SECONDS = 3.0
"""The longest call to the provider while the adapter stops."""
_CLOSE_SECONDS = 1.0
_LINGER_SECONDS = 0.5
_MAX_REASON = 2000
_log = logging.getLogger(__name__)

Announce = Callable[[tuple[str, ...]], None]
"""Gets `("ready",)` when a constant number of groups is complete, or `("failed", reason)`."""


@dataclass(frozen=True, slots=True)
class AdapterSetup:
    """What `run_adapter` needs to know."""

    profile: AdapterProfile
    scheduler_address: Address
    death_timeout_seconds: float
    process: ProcessConfig
    context: "zmq.Context[zmq.Socket[bytes]]"
    parent_pid: int | None = None
    """The process that started this one, if the adapter shall end with it."""
    announce: Announce | None = None


def run_adapter(setup: AdapterSetup, open_provider: OpenProvider) -> int:
    """Run until asked to stop, by a signal or the scheduler, and return 0; `ProgramError` has one line for failures."""
    return run_program(lambda stopping: serve(setup, open_provider, stopping), setup.process, setup.parent_pid)


async def serve(
    setup: AdapterSetup,
    open_provider: OpenProvider,
    stopping: asyncio.Event,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Run within a loop that is there already, until `stopping` is set or the adapter ends by itself."""
    driver = _Driver(setup, clock)
    try:
        provider = await _opened(open_provider, driver.on_change, stopping)
    except ProviderError as error:
        driver.announce("failed", str(error))
        raise ProgramError(str(error)) from error
    if provider is None:
        return 0
    undump = add_sections({"adapter": driver.describe})
    try:
        failure = await driver.run(provider, stopping)
    finally:
        undump()
        await _close(provider)
    if failure:
        driver.announce("failed", failure)
        raise ProgramError(failure)
    return 0


async def _opened(open_provider: OpenProvider, on_change: OnChange, stopping: asyncio.Event) -> Provider | None:
    """Return the provider, None where the program shall stop before there is one: an engine may not answer."""
    opening = asyncio.ensure_future(open_provider(on_change))
    stop = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({opening, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            await asyncio.wait({opening}, timeout=_CLOSE_SECONDS)
        return opening.result() if opening.done() else None
    finally:
        await _cancel(opening, stop)


async def _close(provider: Provider) -> None:
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await provider.close()
    except Exception:  # noqa: BLE001 - the program ends anyway, with its own exit code
        _log.exception("the provider could not be closed")


class _Driver:
    def __init__(self, setup: AdapterSetup, clock: Callable[[], float]) -> None:
        self._setup = setup
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._adapter = Adapter(setup.profile, lambda: new_id().hex())
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._events: deque[e.Event] = deque()
        self._is_feeding = False
        self._timer: asyncio.TimerHandle | None = None
        self._silence_timer: asyncio.TimerHandle | None = None
        self._provider: Provider | None = None
        self._peer: PeerTask | None = None
        self._call: asyncio.Task[None] | None = None
        self._call_limit: asyncio.Timeout | None = None
        self._is_stopping = False

    async def run(self, provider: Provider, stopping: asyncio.Event) -> str:
        """Return why it failed, empty where it ended in order."""
        profile = self._setup.profile
        self._provider = provider
        identity = Identity("adapter", profile.name)
        connection = Connection(self._setup.context, self._setup.scheduler_address, identity, profile.heartbeat_seconds)
        self._peer = PeerTask(connection, self._on_session, self._clock)
        watch = asyncio.create_task(self._watch(stopping))
        limit = self._setup.death_timeout_seconds
        interval = min(profile.heartbeat_seconds, limit / 4)
        self._check_silence(Silence(limit, interval, self._clock()), interval)
        try:
            self._feed(e.Tick())
            return await self._ended
        finally:
            await _cancel(watch, self._call)
            for timer in (self._timer, self._silence_timer):
                if timer is not None:
                    timer.cancel()
            self._peer.close("the adapter has stopped", _LINGER_SECONDS)

    def announce(self, *said: str) -> None:
        """Tell whoever started this adapter."""
        if self._setup.announce is not None:
            self._setup.announce(said)

    def describe(self) -> Iterator[str]:
        """Return where it stands, a line at a time, for people."""
        now = self._clock()
        if self._peer is not None:
            yield from self._peer.connection.describe(now)
        yield from self._adapter.describe(now)

    def on_change(self) -> None:
        """The provider has something new."""
        self._feed(e.Changed())

    # ---- where events come from

    def _on_session(self, event: SessionEvent, now: float) -> None:
        if isinstance(event, Up):
            if event.registered.warning:
                _log.warning("%s", event.registered.warning)
            self._feed(e.Connected(event.fresh))
        elif isinstance(event, Down):
            self._feed(e.Disconnected())
        elif isinstance(event, Rejected):
            self._feed(e.StopAsked(event.reason, drain=False, is_failure=True))
        else:
            self._on_message(event)

    def _on_message(self, event: Incoming) -> None:
        if isinstance(event.message, AdapterCommand):
            self._feed(e.Commanded(event.message))
        elif isinstance(event.message, Shutdown):
            self._feed(e.StopAsked(event.message.reason or "the scheduler ends", drain=False))
        else:
            _log.debug("a message that is not for adapters: %s", type(event.message).__name__)

    async def _watch(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._feed(e.StopAsked("asked to stop"))

    def _check_silence(self, silence: Silence, interval: float) -> None:
        assert self._peer is not None  # noqa: S101 - `run` has just set it
        if not silence.is_over(self._peer.connection.heard_at, self._clock()):
            self._silence_timer = self._loop.call_later(interval, self._check_silence, silence, interval)
            return
        address, limit = self._setup.scheduler_address, self._setup.death_timeout_seconds
        reason = f"heard nothing from the scheduler at {address} for {limit:g} seconds"
        self._feed(e.StopAsked(reason, drain=False, is_failure=True))

    # ---- the core

    def _feed(self, event: e.Event) -> None:
        """Hand an event to the core and carry its effects out; what comes meanwhile waits for its turn."""
        self._events.append(event)
        if self._is_feeding or self._provider is None:
            return
        self._is_feeding = True
        try:
            while self._events:
                self._handle(self._events.popleft())
        finally:
            self._is_feeding = False
        self._schedule()

    def _handle(self, event: e.Event) -> None:
        if isinstance(event, e.StopAsked):
            self._hurry()
        try:
            effects = self._adapter.handle(event, self._clock())
        except Exception:  # noqa: BLE001 - one bad event must not end the adapter
            _log.exception("dropped an event that could not be handled: %.500r", event)
            return
        for effect in effects:
            self._carry_out(effect)

    def _carry_out(self, effect: e.Effect) -> None:
        match effect:
            case e.SendReport(report):
                if self._peer is not None:
                    self._peer.send(report)
            case e.Log(level, text):
                _log.log(level, "%s", text)
            case e.AllReady():
                self.announce("ready")
            case e.StartFailed(reason):
                self.announce("failed", reason)
            case e.Finished(failure):
                if not self._ended.done():
                    self._ended.set_result(failure)
            case _:
                self._call = self._loop.create_task(self._make_call(effect))

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._adapter.next_wakeup()
        if due is not None and not self._ended.done():
            self._timer = self._loop.call_later(max(0.0, due - self._clock()), self._feed, e.Tick())

    # ---- the provider

    async def _make_call(self, call: e.Call) -> None:
        limit = _STOP_CALL_SECONDS if self._is_stopping else self._setup.profile.limits.call_seconds
        try:
            async with asyncio.timeout(limit) as self._call_limit:
                answer = await self._ask(call)
        except TimeoutError:
            answer = e.CallFailed("the engine took too long")
        except ProviderError as error:
            answer = e.CallFailed(str(error))
        except Exception as error:  # noqa: BLE001 - a provider may raise anything, it ends nothing
            _log.exception("the provider failed in %.500r", call)
            answer = e.CallFailed(f"{type(error).__name__}: {error}"[:_MAX_REASON])
        self._call_limit = None
        self._feed(answer)

    async def _ask(self, call: e.Call) -> e.Event:
        assert self._provider is not None  # noqa: S101 - no call is made before there is one
        match call:
            case e.CallLaunch(specs):
                return e.Launched(await self._provider.launch(specs))
            case e.CallObserve():
                return e.UnitsObserved(await self._provider.observe())
            case e.CallTerminate(group_ids, mode, grace_seconds):
                await self._provider.terminate(group_ids, mode, grace_seconds)
                return e.Terminated()
            case e.CallDiagnose(group_id):
                return e.Diagnosed(await self._provider.diagnose(group_id))

    def _hurry(self) -> None:
        """A call that is under way must not keep the adapter from stopping in time."""
        self._is_stopping = True
        if self._call_limit is not None and not self._call_limit.expired():
            self._call_limit.reschedule(min(self._call_limit.when() or 0.0, self._loop.time() + _STOP_CALL_SECONDS))


async def _cancel(*tasks: "asyncio.Future[Any] | None") -> None:
    running = [task for task in tasks if task is not None and not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
