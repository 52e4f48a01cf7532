"""Fetches an image, which may take minutes, in a thread of its own: other calls go on meanwhile."""

import threading
from collections.abc import Callable

from scaler_adapter_container.engine import Engine, EngineError


class Pull:
    """One attempt; begins at once."""

    def __init__(self, image: str, open_engine: Callable[[], Engine], on_end: Callable[[], None]) -> None:
        self.image = image
        self.failure = ""
        """Why it failed; to be read when it has ended."""
        self._open_engine = open_engine
        self._on_end = on_end
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="pull", daemon=True).start()

    @property
    def has_ended(self) -> bool:
        """Whether it is over, one way or the other."""
        return self._ended.is_set()

    def _run(self) -> None:
        try:
            self._fetch()
        except EngineError as error:
            self.failure = str(error)
        except Exception as error:  # noqa: BLE001 - whatever a library raises, the attempt has failed
            self.failure = f"{type(error).__name__}: {error}"
        finally:
            self._ended.set()
            self._on_end()

    def _fetch(self) -> None:
        engine = self._open_engine()
        try:
            engine.pull(self.image)
        finally:
            engine.close()
