"""Listens to what the engine tells of the adapter's containers, in a thread of its own, until it is closed.

Only a hint to look: whatever is missed here, the next look shows.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Final

from scaler_adapter_container.engine import Engine, EngineError, Events

RETRY_SECONDS: Final = 5.0
_TOLD = frozenset({"start", "die", "pause", "unpause"})
_log = logging.getLogger(__name__)


class Watch:
    """See the module. `on_change` is called in its thread."""

    def __init__(
        self, open_engine: Callable[[], Engine], labels: Mapping[str, str], on_change: Callable[[], None]
    ) -> None:
        self._open_engine = open_engine
        self._labels = labels
        self._on_change = on_change
        self._closed = threading.Event()
        self._events: Events | None = None
        # A daemon: the program does not wait for an engine that does not even answer the request for its events.
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Call nobody any more, and let the thread end."""
        self._closed.set()
        events = self._events
        if events is not None:
            events.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._listen()
            except EngineError as error:
                _log.debug("the engine tells nothing: %s", error)
            except Exception as error:  # noqa: BLE001 - whatever a library raises where a stream breaks off
                _log.debug("the engine tells nothing more: %s: %s", type(error).__name__, error)
            self._closed.wait(RETRY_SECONDS)

    def _listen(self) -> None:
        engine = self._open_engine()
        try:
            events = self._events = engine.events(self._labels)
            if self._closed.is_set():  # by somebody who could not see the events yet
                events.close()
                return
            self._on_change()  # what has happened before nobody was told
            for action in events:
                if self._closed.is_set():
                    return
                if action in _TOLD:
                    self._on_change()
        finally:
            self._events = None
            engine.close()
