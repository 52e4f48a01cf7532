"""The object storage that a scheduler starts beside itself: a child that is watched, started again when it ends, and
ended with the scheduler.

However the scheduler ends, its child does too. After an orderly end nothing is left of the objects; otherwise the next
object storage at the address finds them again.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from scaler_object_storage.config import ObjectStorageConfig
from scaler_object_storage.hosted import Hosted
from scaler_protocol.addresses import Address
from scaler_runtime.options import LoggingConfig, ProcessConfig
from scaler_runtime.transport import BindError, is_taken
from scaler_runtime.zygote import Ended, Said, Zygote, ZygoteEnded, ZygoteEvent, describe_status

HANDOVER_SECONDS = 3.0
"""How long the object storage of a scheduler that was killed may take to notice that and let go of its address."""

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
STABLE_SECONDS = 10.0
"""One that has served for so long is started again without a pause."""

_PROGRAM = "scaler_object_storage.server"
_GRACE_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 0.02
_log = logging.getLogger(__name__)


class OwnStorage:
    """Made before the process has threads or a ZeroMQ context; all that follows in one asyncio loop."""

    def __init__(
        self,
        logging_config: LoggingConfig,
        process_config: ProcessConfig,
        heir_pid: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to import what the object storage needs, in a process of its own.

        `heir_pid`: who would start another scheduler at this address. When it has ended too, nothing is left.
        """
        self._about = (logging_config, process_config, heir_pid)
        self._clock = clock
        self._zygote = _zygote()
        self._zygote_has_ended = False
        self._address: Address | None = None
        self._on_listening: Callable[[], None] = _ignore
        self._on_failed: Callable[[str], None] = _ignore
        self._has_listened = False
        self._give_up_at = 0.0
        self._listening_at: float | None = None  # since when this one serves
        self._pause_seconds = 0.0
        self._reason = ""  # what the child said of its failure
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def until_free(self, address: Address) -> None:
        """Return when nobody listens where it shall; `BindError` if that does not come to be.

        The system tells of no port that it is free again: it has to be looked at.
        """
        deadline = self._clock() + HANDOVER_SECONDS
        while is_taken(address):
            if self._clock() >= deadline:
                raise BindError(f"cannot listen on {address}, for the object storage: Address already in use")
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    def start(self, address: Address, on_listening: Callable[[], None], on_failed: Callable[[str], None]) -> None:
        """Start it, without waiting for it. One of the two is called: it serves for the first time, or it cannot."""
        self._address = address
        self._on_listening = on_listening
        self._on_failed = on_failed
        self._give_up_at = self._clock() + HANDOVER_SECONDS
        self._watch()
        self._start()

    async def close(self) -> None:
        """End it in order, and remove all objects."""
        if self._address is not None and not self._is_closed:
            self._unwatch()
            self._is_closed = True
            await asyncio.to_thread(self._zygote.close, _GRACE_SECONDS)
            if self._has_listened or any(map(_says_listening, self._zygote.events())):
                from scaler_object_storage.disk import remove_left
                from scaler_object_storage.limits import Limits

                remove_left(self._address, Limits.from_environment())

    def abandon(self) -> None:
        """End it at once, if it was not closed in order."""
        if not self._is_closed:
            self._is_closed = True
            self._zygote.close()

    # ---- inside

    def _start(self) -> None:
        assert self._address is not None  # noqa: S101 - set by `start`, before anything else happens
        self._timer = None
        self._listening_at = None
        self._reason = ""
        if self._zygote_has_ended:
            self._zygote_has_ended = False
            self._zygote = _zygote()
            self._watch()
        hosted = Hosted(ObjectStorageConfig(self._address), *self._about)
        self._zygote.start(str(self._address), f"{_PROGRAM}:run_hosted", hosted, ends_when_asked=True)

    def _watch(self) -> None:
        asyncio.get_running_loop().add_reader(self._zygote.fileno(), self._on_input)

    def _unwatch(self) -> None:
        asyncio.get_running_loop().remove_reader(self._zygote.fileno())
        if self._timer is not None:
            self._timer.cancel()

    def _on_input(self) -> None:
        for event in self._zygote.events():
            self._on_event(event, self._clock())

    def _on_event(self, event: ZygoteEvent, now: float) -> None:
        match event:
            case Said() if _says_listening(event):
                self._listening_at = now
                if not self._has_listened:
                    self._has_listened = True
                    self._on_listening()
                else:
                    _log.info("the object storage serves at %s again", self._address)
            case Said(message=("failed", str(reason))):
                self._reason = reason
            case Ended(exit_code=exit_code, signal=number):
                self._on_ended(self._reason or describe_status(-(number or 0) or exit_code or 0), now)
            case ZygoteEnded(reason=reason):
                self._unwatch()
                self._zygote_has_ended = True
                self._on_ended(self._reason or reason, now)
            case _:
                pass

    def _on_ended(self, reason: str, now: float) -> None:
        if not self._has_listened and now >= self._give_up_at:
            self._on_failed(reason)
            return
        if self._listening_at is not None and now - self._listening_at >= STABLE_SECONDS:
            self._pause_seconds = 0.0
        if self._has_listened:
            wait = f" in {self._pause_seconds:g} s" if self._pause_seconds else ""
            _log.error("the object storage at %s ended (%s): it is started again%s", self._address, reason, wait)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._pause_seconds, self._start)
        self._pause_seconds = min(LONGEST_PAUSE_SECONDS, 2 * self._pause_seconds or FIRST_PAUSE_SECONDS)


def _zygote() -> Zygote:
    """Return a launcher: forked while nothing speaks against it, which costs next to nothing, else started afresh."""
    is_alone = len(list(Path("/proc/self/task").iterdir())) == 1  # threads that Python knows nothing of count too
    return Zygote([_PROGRAM], fork=is_alone, orphan_seconds=_GRACE_SECONDS)


def _says_listening(event: ZygoteEvent) -> bool:
    match event:
        case Said(message=("listening", str())):
            return True
        case _:
            return False


def _ignore(_: str = "") -> None:
    """Nobody wants to know yet."""
