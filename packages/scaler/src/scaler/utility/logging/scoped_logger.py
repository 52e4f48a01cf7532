"""Logs how long something takes."""

import logging
import time
from types import TracebackType
from typing import Self

_log = logging.getLogger(__name__)


class ScopedLogger:
    """A context manager that logs the beginning, the completion and the time taken."""

    def __init__(self, message: str, logging_level: int = logging.INFO) -> None:
        self._message = message
        self._level = logging_level
        self._began_at = 0.0

    def __enter__(self) -> Self:
        self._began_at = time.monotonic()
        _log.log(self._level, "beginning %s", self._message)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        outcome = "completed" if kind is None else f"left by {kind.__name__}"
        _log.log(self._level, "%s %s after %.3f seconds", outcome, self._message, time.monotonic() - self._began_at)
